//! Files of blocked names: whether they can be read, and what is in them.

use std::path::PathBuf;

use kavadam_gateway::Blocklist;

use super::Findings;

pub(super) fn look(files: &[PathBuf], findings: &mut Findings) {
    for file in files {
        let path = file.display();
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let read = Blocklist::default().read(&text);
                findings.good(&format!("{path} blocks {} names", read.names));
                if let Some((line, text)) = read.first_strange {
                    let strange = read.strange;
                    findings.unsure(&format!(
                        "{path}: {strange} words in it are no names and block nothing; the first in line {line}: {text}"
                    ));
                }
            }
            Err(error) => findings.bad(
                &format!("{path} (gateway.blocked.files) cannot be read: {error}; nothing in it is blocked"),
                "correct gateway.blocked.files, or the file's owner",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_cannot_be_read_is_a_problem_and_strange_lines_are_spoken_of() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list");
        std::fs::write(&file, "example.org\n|strange|\n").unwrap();
        let mut findings = Findings::default();
        look(&[file], &mut findings);
        let said = findings.lines.join(" ");
        assert_eq!(findings.bad, 0);
        assert!(
            said.contains("blocks 1 names") && said.contains("line 2: |strange|"),
            "{said}"
        );
        let mut findings = Findings::default();
        look(&[dir.path().join("none")], &mut findings);
        assert_eq!(findings.bad, 1);
    }
}
