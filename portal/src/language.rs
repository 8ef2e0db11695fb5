//! Which language a page is in: the one chosen, else the first of ours the browser asks for, else Malayalam.

use kavadam_domain::Language;

/// The language of an Accept-Language header (RFC 9110 §12.5.4); Malayalam where it names none of ours.
pub fn negotiate(accept_language: &str) -> Language {
    let mut best: Option<(f32, Language)> = None;
    for range in accept_language.split(',').take(32) {
        let mut parts = range.split(';');
        let Some(language) = parts.next().and_then(|tag| Language::from_tag(tag.trim())) else {
            continue;
        };
        let quality = parts
            .find_map(|part| part.trim().strip_prefix("q="))
            .map_or(1.0, |q| q.trim().parse::<f32>().unwrap_or(0.0));
        // Equal weights keep the order in which they were named.
        if quality > best.map_or(0.0, |(known, _)| known) {
            best = Some((quality, language));
        }
    }
    best.map_or_else(Language::default, |(_, language)| language)
}

/// What a language calls itself.
pub const fn own_name(language: Language) -> &'static str {
    match language {
        Language::Ml => "മലയാളം",
        Language::En => "English",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honours_the_browser_and_falls_back_to_malayalam() {
        for (header, language) in [
            ("", Language::Ml),
            ("ml-IN,en;q=0.9", Language::Ml),
            ("en-IN,en-GB;q=0.9,ml;q=0.8", Language::En),
            ("hi-IN,en;q=0.5,ml;q=0.7", Language::Ml),
            ("fr,de", Language::Ml),
            ("en;q=0", Language::Ml),
            ("en;q=nonsense, *", Language::Ml),
            ("EN", Language::En),
            (";;;,,,q=1", Language::Ml),
        ] {
            assert_eq!(negotiate(header), language, "{header}");
        }
    }
}
