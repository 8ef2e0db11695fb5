//! Just enough HTML to do what a browser does with our pages: find the form, fill it in, read the heading.

use anyhow::{Context as _, bail};

/// A page as it arrived.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where it came from, after redirects.
    pub url: String,
    /// HTTP status.
    pub status: u16,
    /// HTML.
    pub body: String,
}

/// A form: where it goes, and its fields in order.
#[derive(Debug, Clone)]
pub struct Form {
    /// Absolute address.
    pub action: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
}

impl Page {
    /// The text of the page's heading.
    #[must_use]
    pub fn heading(&self) -> String {
        let inner = between(&self.body, "<h1", "</h1>").and_then(|part| part.split_once('>'));
        inner.map_or_else(String::new, |(_, text)| plain(text))
    }

    /// The text that stands with the heading.
    #[must_use]
    pub fn under_heading(&self) -> String {
        between(&self.body, "</h1>", "</div>").map_or_else(String::new, plain)
    }

    /// All the text of the page.
    #[must_use]
    pub fn text(&self) -> String {
        let mut body = self.body.clone();
        for element in ["style", "svg", "head"] {
            while let Some(part) = between(&body, &format!("<{element}"), &format!("</{element}>")) {
                body = body.replace(&format!("<{element}{part}</{element}>"), " ");
            }
        }
        plain(&body)
    }

    /// The form that posts to a path.
    ///
    /// # Errors
    /// The page has none.
    pub fn form(&self, path: &str) -> anyhow::Result<Form> {
        for part in self.body.split("<form").skip(1) {
            let (form, _) = part.split_once("</form>").context("a form does not end")?;
            let (tag, inner) = form.split_once('>').context("a form's tag does not end")?;
            if attribute(tag, "action").as_deref() != Some(path) {
                continue;
            }
            let fields = inner.split("<input").skip(1).filter_map(|input| {
                let (tag, _) = input.split_once('>')?;
                Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
            });
            return Ok(Form {
                action: self.resolve(path),
                fields: fields.collect(),
            });
        }
        bail!("the page `{}` has no form for {path}", self.heading())
    }

    /// Where the page goes by itself after a while.
    #[must_use]
    pub fn refresh(&self) -> Option<String> {
        let (_, rest) = self.body.split_once("http-equiv=\"refresh\"")?;
        let content = attribute(rest.split_once('>')?.0, "content")?;
        let (_, to) = content.split_once(";url=")?;
        Some(if to.starts_with('/') {
            self.resolve(to)
        } else {
            to.to_owned()
        })
    }

    fn resolve(&self, path: &str) -> String {
        let origin: Vec<&str> = self.url.splitn(4, '/').take(3).collect();
        format!("{}{path}", origin.join("/"))
    }
}

impl Form {
    /// Fills a field in, or ticks it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = between(tag, &format!(" {name}=\""), "\"")?;
    Some(unescape(value))
}

/// Text without tags, white space folded.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut is_inside = false;
    for c in html.chars() {
        match c {
            '<' => is_inside = true,
            '>' => {
                is_inside = false;
                text.push(' ');
            }
            c if !is_inside => text.push(c),
            _ => {}
        }
    }
    unescape(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unescape(text: &str) -> String {
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#x2f;", "/"),
        ("&amp;", "&"),
    ];
    entities
        .iter()
        .fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_form_and_its_hidden_fields() {
        let page = Page {
            url: "http://10.80.0.1:8081/?res=notyet".into(),
            status: 200,
            body:
                "<h1 id=a>Hello &amp; <b>you</b></h1><form method=\"post\" action=\"/number\"><input type=\"hidden\" \
                   name=\"v\" value=\"a&amp;b\"/><input name=\"number\"/></form>"
                    .into(),
        };
        let form = page.form("/number").unwrap().with("number", "1");
        assert_eq!(form.action, "http://10.80.0.1:8081/number");
        assert_eq!(
            form.fields,
            [
                ("v".to_owned(), "a&b".to_owned()),
                ("number".to_owned(), "1".to_owned())
            ]
        );
        assert_eq!(page.heading(), "Hello & you");
        assert!(page.form("/code").is_err());
        let page = Page {
            body: "<div><h1>Gone</h1>\n<p>Back in 2 h</p></div><p>Else</p>".into(),
            ..page
        };
        assert_eq!(page.under_heading(), "Back in 2 h");
    }
}
