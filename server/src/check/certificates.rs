//! Certificates for RADIUS over TLS: whether they can be used, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use kavadam_domain::Timestamp;
use kavadam_radius::tls::Expiry;

use super::Findings;
use crate::clock;
use crate::config::Config;

/// Time enough to get a new one through an office.
const SOON: Duration = Duration::from_hours(30 * 24);

/// What only root can read is told of already, and can be used by nobody.
pub(super) fn look(config: &Config, unreadable: &[PathBuf], findings: &mut Findings) {
    for (section, files) in config.tls_files() {
        match files.examine() {
            Ok(expiries) => {
                if !files.paths().any(|path| unreadable.contains(path)) {
                    findings.good(&format!("the certificates of {section} can be used"));
                }
                for expiry in &expiries {
                    look_at_expiry(section, expiry, clock::now(), findings);
                }
            }
            Err(error) => findings.bad(&format!("{section}: {error}"), &format!("correct [{section}]")),
        }
    }
}

fn look_at_expiry(section: &str, expiry: &Expiry, now: Timestamp, findings: &mut Findings) {
    let (path, left) = (expiry.path.display(), expiry.at.since(now));
    let days = left.as_secs() / 86_400;
    if expiry.at <= now {
        let what = format!("{section}: a certificate in {path} has expired: RADIUS over TLS is refused");
        findings.bad(&what, "get a new one; it is read when the file changes");
    } else if left < SOON {
        let what = format!(
            "{section}: a certificate in {path} expires in {days} days: renew it, or every gate falls silent at once"
        );
        findings.unsure(&what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_ends_soon_is_spoken_of_and_one_that_has_ended_is_a_problem() {
        let now = Timestamp::from_secs(1_800_000_000);
        let look = |days: i64| {
            let mut findings = Findings::default();
            let at = Timestamp::from_secs(1_800_000_000 + days * 86_400);
            let expiry = Expiry {
                path: "/etc/kavadam/tls.pem".into(),
                at,
            };
            look_at_expiry("radius.tls", &expiry, now, &mut findings);
            (findings.bad, findings.lines.join(" "))
        };
        assert_eq!(look(31), (0, String::new()));
        let (bad, said) = look(29);
        assert!(bad == 0 && said.contains("expires in 29 days"), "{said}");
        let (bad, said) = look(-1);
        assert!(bad == 1 && said.contains("has expired"), "{said}");
    }
}
