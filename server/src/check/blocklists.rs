//! Files of blocked names: whether they can be read, and what is in them; and plans whose filter is not here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kavadam_domain::Plan;
use kavadam_gateway::Blocklist;

use super::Findings;
use crate::config::Filter;

/// `key` is the section that names them.
pub(super) fn look(key: &str, files: &[PathBuf], findings: &mut Findings) {
    for file in files {
        let path = file.display();
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let read = Blocklist::default().read(&text);
                findings.good(&format!("{path} ({key}) blocks {} names", read.names));
                if let Some((line, text)) = read.first_strange {
                    let strange = read.strange;
                    findings.unsure(&format!(
                        "{path}: {strange} words in it are no names and block nothing; the first in line {line}: {text}"
                    ));
                }
            }
            Err(error) => findings.bad(
                &format!("{path} ({key}.files) cannot be read: {error}; nothing in it is blocked"),
                &format!("correct {key}.files, or the file's owner"),
            ),
        }
    }
}

/// Of a machine that is centre and gate: a plan may be for other gates alone, so it is no problem for certain.
pub(super) fn look_at_plans(plans: &[Plan], filters: &BTreeMap<String, Filter>, findings: &mut Findings) {
    for plan in plans {
        let Some(filter) = plan.filter.filter(|name| !filters.contains_key(name.as_str())) else {
            continue;
        };
        findings.unsure(&format!(
            "the plan {} has the filter {filter}, which this gate has not: here nobody of that plan is let in (add [gateway.filters.{filter}])",
            plan.name
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_whose_filter_is_not_here_is_spoken_of() {
        let mut plan = crate::centre::first_plan();
        let mut findings = Findings::default();
        look_at_plans(std::slice::from_ref(&plan), &BTreeMap::new(), &mut findings);
        assert!(findings.lines.is_empty());
        plan.filter = "minors".parse().ok();
        look_at_plans(std::slice::from_ref(&plan), &BTreeMap::new(), &mut findings);
        assert!(findings.lines.concat().contains("add [gateway.filters.minors]"));
        let mut findings = Findings::default();
        let here = BTreeMap::from([("minors".to_owned(), Filter::default())]);
        look_at_plans(&[plan], &here, &mut findings);
        assert!(findings.lines.is_empty());
    }

    #[test]
    fn a_list_that_cannot_be_read_is_a_problem_and_strange_lines_are_spoken_of() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list");
        std::fs::write(&file, "example.org\n|strange|\n").unwrap();
        let mut findings = Findings::default();
        look("gateway.blocked", &[file], &mut findings);
        let said = findings.lines.join(" ");
        assert_eq!(findings.bad, 0);
        assert!(
            said.contains("blocks 1 names") && said.contains("line 2: |strange|"),
            "{said}"
        );
        let mut findings = Findings::default();
        look("gateway.filters.minors", &[dir.path().join("none")], &mut findings);
        assert_eq!(findings.bad, 1);
        assert!(findings.lines.join(" ").contains("gateway.filters.minors.files"));
    }
}
