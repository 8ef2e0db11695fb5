//! A small reader of our own markup: strict where browsers forgive, so that mistakes show.

/// An element's start, with its attributes.
#[derive(Debug, Clone)]
pub struct Element {
    pub name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Every element of a document in order.
///
/// # Panics
/// If a tag is not closed in its place, an attribute is unquoted or repeated, or text holds a stray `<`.
pub fn read(html: &str) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = html.trim_start().strip_prefix("<!doctype html>").expect("a doctype");
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, next) = after.split_once('>').expect("a tag that ends");
        rest = next;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closes what is open");
            continue;
        }
        let (tag, is_void) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let element = element(tag);
        assert!(element.name.chars().all(|c| c.is_ascii_alphanumeric()), "a name: {tag}");
        if element.name == "style" {
            rest = rest.split_once("</style>").expect("a style that ends").1;
        } else if !is_void {
            open.push(element.name.clone());
        }
        elements.push(element);
    }
    assert!(open.is_empty(), "left open: {open:?}");
    elements
}

fn element(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let mut attributes: Vec<(String, String)> = Vec::new();
    rest = rest.trim();
    while !rest.is_empty() {
        let (attribute, after) = rest
            .split_once("=\"")
            .unwrap_or_else(|| panic!("a quoted value: {tag}"));
        let (value, next) = after
            .split_once('"')
            .unwrap_or_else(|| panic!("a closing quote: {tag}"));
        assert!(
            attributes.iter().all(|(known, _)| known != attribute),
            "{attribute} twice: {tag}"
        );
        attributes.push((attribute.to_owned(), value.to_owned()));
        rest = next.trim_start();
    }
    Element {
        name: name.to_owned(),
        attributes,
    }
}
