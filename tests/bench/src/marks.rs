//! Tables in a document, written anew between two marks.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// Writes between the mark that names a measurement and the next end mark.
///
/// # Errors
/// The document has no such marks, or cannot be read or written.
pub fn write(path: &Path, measurement: &str, tables: &str) -> anyhow::Result<()> {
    const END: &str = "<!-- to here -->";
    let begin = format!("<!-- make {measurement} writes from here -->");
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let marked = text
        .split_once(&begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    ensure!(marked.is_some(), "{} has no place for the tables", path.display());
    let (before, after) = marked.unwrap_or_default();
    fs::write(path, format!("{before}{begin}\n\n{tables}\n{END}{after}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_between_its_own_marks_and_nowhere_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = "<!-- make other writes from here -->\nkept\n<!-- to here -->\n";
        let text = |tables: &str| {
            format!("{other}before\n<!-- make this writes from here -->\n{tables}\n<!-- to here -->\nafter\n")
        };
        fs::write(file.path(), text("old")).unwrap();
        write(file.path(), "this", "new").unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), text("\nnew"));
        assert!(write(file.path(), "unheard-of", "new").is_err());
    }
}
