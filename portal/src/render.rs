//! Fills templates. Everything a template uses is checked: an unknown name is an error, every value is escaped.

use data_encoding::BASE64;
use kavadam_domain::Language;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::config::PortalConfig;
use crate::language::own_name;
use crate::pages::Page;
use crate::texts;

/// The one stylesheet of every page, inlined so that the first page needs nothing else.
const STYLE: &str = include_str!("../templates/style.css");

const TEMPLATES: [(&str, &str); 18] = [
    ("base.html", include_str!("../templates/base.html")),
    ("icons.html", include_str!("../templates/icons.html")),
    ("number.html", include_str!("../templates/number.html")),
    ("code.html", include_str!("../templates/code.html")),
    ("connecting.html", include_str!("../templates/connecting.html")),
    ("failed.html", include_str!("../templates/failed.html")),
    ("status.html", include_str!("../templates/status.html")),
    ("returning.html", include_str!("../templates/returning.html")),
    ("used_up.html", include_str!("../templates/used_up.html")),
    ("disconnected.html", include_str!("../templates/disconnected.html")),
    ("document.html", include_str!("../templates/document.html")),
    ("error.html", include_str!("../templates/error.html")),
    ("terms.ml.html", include_str!("../templates/terms.ml.html")),
    ("terms.en.html", include_str!("../templates/terms.en.html")),
    ("privacy.ml.html", include_str!("../templates/privacy.ml.html")),
    ("privacy.en.html", include_str!("../templates/privacy.en.html")),
    ("help.ml.html", include_str!("../templates/help.ml.html")),
    ("help.en.html", include_str!("../templates/help.en.html")),
];

/// Around the content of a page.
pub struct Frame {
    /// The language of the page.
    pub language: Language,
    /// The sealed visit token for forms and links, where there is a visit.
    pub v: Option<String>,
    /// This page in each language.
    pub switch: Vec<(Language, String)>,
    /// A refusal to say on top.
    pub notice: Option<String>,
    /// Where the page loads itself anew; `None` keeps it still.
    pub refresh_href: Option<String>,
    /// The same page with that turned the other way.
    pub still_href: Option<String>,
}

/// A page ready to send.
pub struct Rendered {
    /// The document.
    pub html: String,
    /// For Content-Security-Policy: the hashes of its style blocks.
    pub style_hashes: String,
}

#[derive(Serialize)]
struct LanguageLink {
    tag: &'static str,
    name: &'static str,
    href: String,
}

#[derive(Serialize)]
struct Refresh {
    secs: u32,
    href: String,
}

/// Templates, ready to fill.
pub struct Renderer {
    environment: Environment<'static>,
    style_hash: String,
}

impl Renderer {
    pub fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        // Only delimiters can be wrong in a syntax, and these are the standard ones.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.unwrap_or_default());
        environment.add_filter("fill", |text: String, value: Value| {
            texts::fill(&text, &value.to_string())
        });
        environment.set_loader(|name| {
            Ok(TEMPLATES
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, text)| *text))
        });
        Self {
            environment,
            style_hash: hash_source(STYLE),
        }
    }

    /// Renders a page in its frame.
    pub fn render<P: Page>(&self, page: &P, frame: Frame, config: &PortalConfig) -> Result<Rendered, minijinja::Error> {
        let Frame {
            language,
            v,
            switch,
            notice,
            refresh_href,
            still_href,
        } = frame;
        let switch: Vec<LanguageLink> = switch
            .into_iter()
            .filter(|(to, _)| *to != language)
            .map(|(to, href)| LanguageLink {
                tag: to.tag(),
                name: own_name(to),
                href,
            })
            .collect();
        let refresh = P::REFRESH_SECS
            .zip(refresh_href)
            .map(|(secs, href)| Refresh { secs, href });
        let own_style = page.own_style();
        let style_hashes = match &own_style {
            Some(own) => format!("{} {}", self.style_hash, hash_source(own)),
            None => self.style_hash.clone(),
        };
        let html = self.environment.get_template(P::TEMPLATE)?.render(context! {
            t => Serde(texts::of(language)),
            page => Serde(page),
            lang => language.tag(),
            switch => Serde(switch),
            service => config.service.get(language),
            operator => config.operator.get(language),
            helpdesk => config.helpdesk.as_str(),
            style => Value::from_safe_string(STYLE.to_owned()),
            own_style => own_style.map(Value::from_safe_string),
            refresh => Serde(refresh),
            v,
            notice,
            still_href,
        })?;
        Ok(Rendered { html, style_hashes })
    }
}

/// A hash source of Content Security Policy Level 3 §2.3.1.
fn hash_source(text: &str) -> String {
    format!("'sha256-{}'", BASE64.encode(&Sha256::digest(text)))
}
