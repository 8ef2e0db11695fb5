//! What is amiss with the record of a gate.

use kavadam_access::Access;
use kavadam_access::admin::NasView;
use kavadam_access::overview::QuietGate;
use kavadam_domain::Timestamp;

use super::Findings;
use crate::clock;

/// Exceptions, while they last and when they are over.
pub async fn look(access: &Access, findings: &mut Findings) {
    match access.nases().await {
        Ok(nases) => {
            for nas in &nases {
                look_at(nas, clock::now(), findings);
            }
        }
        Err(error) => findings.bad(&format!("the gates cannot be read: {error}"), "see database.url"),
    }
    for gate in access.quiet_gates(clock::now()).await.unwrap_or_default() {
        look_at_quiet(&gate, findings);
    }
    for (name, count) in access.unowned_reports_kept().await.unwrap_or_default() {
        findings.unsure(&format!(
            "{count} accounting reports of the gate `{name}` are kept that belong to no session, or that nobody can believe, so that nobody was \
             charged: does another server let people in there, does it send no Acct-Session-Id, or was a back-up restored?"
        ));
    }
}

fn look_at_quiet(gate: &QuietGate, findings: &mut Findings) {
    let QuietGate { name, unheard, online } = gate;
    findings.unsure(&format!(
        "of {unheard} of the {online} sessions older than ten minutes at the gate `{name}` nothing was heard for as long: it is cut off, or sends \
         no Interim-Updates (switch them on there, every minute to five). After a quarter of an hour they are taken for ended while people may be \
         online, and what they hold of a quota goes to others"
    ));
}

fn look_at(nas: &NasView, now: Timestamp, findings: &mut Findings) {
    let name = &nas.name;
    if let Some((until, date)) = dated(nas.unsigned_until) {
        let exposed = format!("the gate `{name}` may do without Message-Authenticator until {date}");
        if now < until {
            findings.note(&format!(
                "{exposed}: whoever is on the path can forge its logins; upgrade or replace it"
            ));
        } else {
            findings.bad(
                &format!("{exposed}, which is past: Access-Requests without it are refused"),
                &format!(
                    "upgrade the gate; then `kavadam nas set {name} --no-message-authenticator-until now` ends the exception"
                ),
            );
        }
    }
    if nas.is_ms_chap_allowed {
        findings.note(&format!(
            "the gate `{name}` may log people in by MS-CHAPv2: whoever records one can find the password; use PAP or CHAP, then `kavadam nas set {name} --ms-chap=false`"
        ));
    }
    if let Some((until, date)) = dated(nas.old_secret_until)
        && now < until
    {
        findings.note(&format!("the old secret of the gate `{name}` is valid until {date}"));
    }
}

fn dated(until: Option<Timestamp>) -> Option<(Timestamp, String)> {
    let until = until?;
    Some((until, format!("{:.0}", until.to_jiff()?)))
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    fn found(unsigned_until: Option<Timestamp>, old_secret_until: Option<Timestamp>) -> Findings {
        looked_at(&NasView {
            unsigned_until,
            old_secret_until,
            ..some_gate()
        })
    }

    fn looked_at(nas: &NasView) -> Findings {
        let mut findings = Findings::default();
        look_at(nas, NOW, &mut findings);
        findings
    }

    pub fn some_gate() -> NasView {
        NasView {
            name: "stand-7".into(),
            site: "Vizhinjam".into(),
            source: "10.7.0.2/32".parse().unwrap(),
            coa_port: 3799,
            coa_host: None,
            profile: "kavadam".into(),
            is_renewing: false,
            old_secret_until: None,
            unsigned_until: None,
            is_ms_chap_allowed: false,
            certificate_name: None,
            last_seen: None,
        }
    }

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    #[test]
    fn nags_about_an_exception_while_it_lasts_and_calls_it_a_problem_afterwards() {
        assert!(found(None, None).lines.is_empty());
        let lasting = found(Some(NOW + Duration::from_hours(1)), None);
        assert!(
            lasting.lines[0].contains("until 2027-01-15T09:00:00Z"),
            "{:?}",
            lasting.lines
        );
        assert_eq!(lasting.bad, 0);
        let over = found(Some(NOW), None);
        assert!(
            over.lines[0].contains("stand-7 --no-message-authenticator-until now"),
            "{:?}",
            over.lines
        );
        assert_eq!(over.bad, 1);
    }

    #[test]
    fn tells_of_an_old_secret_while_it_is_valid() {
        assert_eq!(found(None, Some(NOW + Duration::from_hours(1))).lines.len(), 1);
        assert!(found(None, Some(NOW)).lines.is_empty());
    }

    #[test]
    fn names_a_gate_that_does_not_report_what_is_online_there() {
        let mut findings = Findings::default();
        let quiet = QuietGate {
            name: "stand-7".into(),
            unheard: 3,
            online: 4,
        };
        look_at_quiet(&quiet, &mut findings);
        assert!(findings.lines[0].contains("3 of the 4 sessions older than ten minutes at the gate `stand-7`"));
        assert_eq!(findings.bad, 0, "the gate may be cut off just now");
    }

    #[test]
    fn nags_about_ms_chap_where_it_is_allowed() {
        let allowed = NasView {
            is_ms_chap_allowed: true,
            ..some_gate()
        };
        let findings = looked_at(&allowed);
        assert!(
            findings.lines[0].contains("stand-7 --ms-chap=false"),
            "{:?}",
            findings.lines
        );
        assert_eq!(findings.bad, 0);
    }
}
