//! What holds on every page, in both languages: well-formed, labelled, small, and readable in light and dark.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use axum::body::Body;
use axum::http::Request;
use flate2::Compression;
use flate2::write::GzEncoder;
use kavadam_domain::Language;

use super::markup::{Element, read};
use crate::config::{PortalConfig, TokenKey};
use crate::samples::{Sample, pages};
use crate::testing::{ORIGIN, Scene, redirect};

/// Fits the first flight of ten segments of TCP (RFC 6928), headers included.
const MOST_OCTETS: usize = 14_000;

fn every_page() -> Vec<(Sample, Vec<Element>)> {
    let config = PortalConfig::new(ORIGIN.parse().unwrap(), TokenKey::new([0; 32]));
    let samples = Language::ALL
        .into_iter()
        .flat_map(|language| pages(&config, language).unwrap());
    samples
        .map(|sample| {
            let elements = read(&sample.html);
            (sample, elements)
        })
        .collect()
}

#[test]
fn every_page_renders_in_both_languages() {
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (sample, elements) in every_page() {
        *names.entry(sample.name).or_default() += 1;
        assert_eq!(elements[0].get("lang"), Some(sample.language.tag()), "{}", sample.name);
        assert!(
            !sample.html.contains("{{") && !sample.html.contains("{%"),
            "{}",
            sample.name
        );
        let text = without_style(&sample.html);
        let is_place = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase());
        assert!(
            !text.split('{').skip(1).any(is_place),
            "{}: a place was left unfilled",
            sample.name
        );
    }
    assert!(
        names.len() >= 20 && names.values().all(|count| *count == 2),
        "{names:?}"
    );
}

#[test]
fn every_page_has_one_heading_and_a_title() {
    for (sample, elements) in every_page() {
        let count = |name| elements.iter().filter(|element| element.name == name).count();
        for name in ["h1", "title", "main", "header", "footer"] {
            assert_eq!(count(name), 1, "{name} of {}", sample.name);
        }
        assert!(!sample.html.contains("<title> ·"), "{}", sample.name);
    }
}

#[test]
fn every_input_has_a_label_and_every_id_is_one() {
    for (sample, elements) in every_page() {
        let ids: Vec<&str> = elements.iter().filter_map(|element| element.get("id")).collect();
        let unique: HashSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{}: {ids:?}", sample.name);
        let labels: Vec<&str> = elements.iter().filter_map(|element| element.get("for")).collect();
        for input in elements.iter().filter(|element| element.name == "input") {
            if input.get("type") != Some("hidden") {
                let id = input.get("id").unwrap_or_default();
                assert!(labels.contains(&id), "{}: {id:?} has no label", sample.name);
            }
            if let Some(hint) = input.get("aria-describedby") {
                for hint in hint.split(' ') {
                    assert!(ids.contains(&hint), "{}: no {hint}", sample.name);
                }
            }
        }
        for picture in elements.iter().filter(|element| element.name == "svg") {
            assert_eq!(picture.get("aria-hidden"), Some("true"), "{}", sample.name);
        }
    }
}

#[test]
fn every_form_posts_and_carries_the_token() {
    for (sample, elements) in every_page() {
        let forms = elements.iter().filter(|element| element.name == "form");
        assert!(
            forms.clone().all(|form| form.get("method") == Some("post")),
            "{}",
            sample.name
        );
        let tokens = elements
            .iter()
            .filter(|element| element.get("name") == Some("v"))
            .count();
        assert_eq!(forms.count(), tokens, "{}", sample.name);
    }
}

#[test]
fn no_page_needs_a_script_a_cookie_or_anything_else_from_anywhere() {
    for (sample, elements) in every_page() {
        for element in &elements {
            assert!(!["script", "link", "img", "iframe", "object", "embed", "base"].contains(&element.name.as_str()));
            for attribute in ["src", "srcset", "style", "onclick", "onload", "target"] {
                assert_eq!(element.get(attribute), None, "{}: {attribute}", sample.name);
            }
            for address in ["href", "action"].into_iter().filter_map(|name| element.get(name)) {
                let address = address.replace("&#x2f;", "/");
                let ours = address.starts_with('/') && !address.starts_with("//");
                let known = address.starts_with("tel:") || address == "http://10.80.0.1:3990/prelogin";
                assert!(ours || known, "{}: {address}", sample.name);
            }
        }
        assert!(
            !sample.html.contains("url(") && !sample.html.contains("@import"),
            "{}",
            sample.name
        );
    }
}

#[test]
fn every_page_fits_the_first_flight() {
    for (sample, _) in every_page() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::new(6));
        packed.write_all(sample.html.as_bytes()).unwrap();
        let octets = packed.finish().unwrap().len();
        assert!(
            octets < MOST_OCTETS / 2,
            "{} in {}: {octets}",
            sample.name,
            sample.language.tag()
        );
    }
}

#[tokio::test]
async fn the_first_page_is_one_answer_within_the_first_flight() {
    let scene = Scene::new();
    for encoding in ["gzip", "br"] {
        let request = Request::get(redirect("notyet", ""))
            .header("accept-encoding", encoding)
            .header("accept-language", "ml")
            .body(Body::empty());
        let page = scene.send(request.unwrap()).await;
        assert_eq!(page.header("content-encoding"), encoding);
        let headers: usize = page
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        assert!(
            page.body.len() + headers < MOST_OCTETS,
            "{encoding}: {} + {headers}",
            page.body.len()
        );
    }
}

#[test]
fn text_stands_out_in_light_and_dark() {
    let css = include_str!("../../templates/style.css");
    let mut palettes = css
        .split(":root{")
        .skip(1)
        .map(|part| palette(part.split('}').next().unwrap()));
    let (light, dark) = (palettes.next().unwrap(), palettes.next().unwrap());
    // WCAG 2.1 AA: 4.5 for text (1.4.3), 3 for the edges of controls (1.4.11).
    let pairs = [
        ("ink", "paper", 4.5),
        ("ink", "card", 4.5),
        ("ink", "tint", 4.5),
        ("soft", "paper", 4.5),
        ("soft", "card", 4.5),
        ("leaf", "paper", 4.5),
        ("leaf", "card", 4.5),
        ("leaf", "tint", 4.5),
        ("on-leaf", "leaf", 4.5),
        ("warn", "warn-tint", 4.5),
        ("bad", "card", 4.5),
        ("field", "card", 3.0),
        ("field", "paper", 3.0),
        ("leaf", "track", 3.0),
        ("gold", "paper", 3.0),
        ("gold", "card", 3.0),
        ("gold", "track", 3.0),
    ];
    for (name, colours) in [("light", light), ("dark", dark)] {
        for (front, back, least) in pairs {
            let ratio = contrast(colours[front], colours[back]);
            assert!(ratio >= least, "{name}: {front} on {back} is {ratio:.2}");
        }
    }
}

fn without_style(html: &str) -> String {
    let parts = html.split("<style>").enumerate();
    parts
        .map(|(n, part)| {
            if n == 0 {
                part
            } else {
                part.split_once("</style>").unwrap().1
            }
        })
        .collect()
}

fn palette(declarations: &str) -> HashMap<&str, [f64; 3]> {
    let declarations = declarations
        .split(';')
        .filter_map(|line| line.trim().strip_prefix("--")?.split_once(":#"));
    declarations.map(|(name, hex)| (name, rgb(hex))).collect()
}

fn rgb(hex: &str) -> [f64; 3] {
    let long = if hex.len() == 3 {
        hex.chars().flat_map(|c| [c, c]).collect()
    } else {
        hex.to_owned()
    };
    [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&long[at..at + 2], 16).unwrap()) / 255.0)
}

/// The contrast ratio of WCAG 2.1.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let [r, g, b] = colour.map(|c| {
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}
