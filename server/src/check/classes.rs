//! Plans whose shaping class is not here.

use std::collections::BTreeMap;

use kavadam_domain::Plan;

use super::Findings;
use crate::config::UplinkClass;

/// Of a machine that is centre and gate: a plan may be for other gates alone, and without its class people are online all the same.
pub(super) fn look_at_plans(plans: &[Plan], classes: &BTreeMap<String, UplinkClass>, findings: &mut Findings) {
    for plan in plans {
        let Some(class) = plan.class.filter(|name| !classes.contains_key(name.as_str())) else {
            continue;
        };
        findings.unsure(&format!(
            "the plan {} has the shaping class {class}, which this gate has not: here its people share a full line as those without one \
             (add [gateway.uplink.classes.{class}])",
            plan.name
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_whose_class_is_not_here_is_spoken_of() {
        let mut plan = crate::centre::first_plan();
        let mut findings = Findings::default();
        look_at_plans(std::slice::from_ref(&plan), &BTreeMap::new(), &mut findings);
        assert!(findings.lines.is_empty());
        plan.class = "free".parse().ok();
        look_at_plans(std::slice::from_ref(&plan), &BTreeMap::new(), &mut findings);
        assert!(findings.lines.concat().contains("add [gateway.uplink.classes.free]"));
        let mut findings = Findings::default();
        let here = BTreeMap::from([("free".to_owned(), UplinkClass::default())]);
        look_at_plans(&[plan], &here, &mut findings);
        assert!(findings.lines.is_empty());
    }
}
