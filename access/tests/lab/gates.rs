//! Gates of vendors', and what they say.

use kavadam_access::admin::NasChange;
use kavadam_domain::gate::Abilities;

use super::*;

impl Lab {
    /// With the gate one of a vendor `other` that can be held to so much, or a network of them.
    pub async fn at_a_vendors(database: Database, plan: &Plan, abilities: Abilities, source: Option<&str>) -> Self {
        let mut lab = Self::new(database, plan).await;
        let mut settings = Settings::default();
        settings.abilities.insert("other".to_owned(), abilities);
        lab.access = Access::new(lab.store.clone(), lab.sealer.clone(), settings);
        lab.access.nas_seen(lab.nas, SEEN_AT.parse().unwrap(), lab.now);
        let change = NasChange {
            profile: Some("other"),
            is_renewing: Some(false),
            source: source.map(|source| source.parse().unwrap()),
            ..NasChange::default()
        };
        lab.access.change_nas("gate-1", &change, "test", lab.now).await.unwrap();
        lab
    }

    /// A network of access points, with two people whose devices are remembered.
    pub async fn at_access_points(database: Database) -> Self {
        let lab = Self::at_a_vendors(database, &plan(400 * MB), Abilities::ALL, Some("10.9.0.0/24")).await;
        others::known(&lab, 1, MAC).await;
        others::known(&lab, 2, OTHER_MAC).await;
        lab
    }

    /// Lets a remembered device in, for a session of that name, if it has one.
    pub async fn call_check(&self, mac: Mac, name: Option<String>, seen: Seen) -> Grant {
        let request = AuthorizeRequest {
            nas: self.nas,
            user_name: mac.to_string(),
            service: Service::CallCheck,
            mac: Some(mac),
            ip: None,
            acct_session_id: name,
            class: None,
            wants_cui: false,
            seen,
        };
        granted(self.access.authorize(request, self.now).await.unwrap())
    }

    /// With neither Class nor User-Name.
    pub fn words(
        &self,
        kind: AccountingKind,
        name: &str,
        mac: Option<Mac>,
        octets: u64,
        secs: u32,
    ) -> AccountingReport {
        AccountingReport {
            nas: self.nas,
            from: None,
            kind,
            acct_session_id: name.to_owned(),
            class: None,
            user_name: None,
            mac,
            ip: None,
            ports: None,
            free: None,
            counters: Counters {
                down_octets: octets,
                session_secs: secs,
                ..Counters::default()
            },
            at: self.now,
        }
    }

    /// Such a report, sent.
    pub async fn account(&self, report: AccountingReport) -> Accounted {
        self.access.account(report, self.now).await.unwrap()
    }
}

/// The name of a session with who gave it, as the door has it.
pub fn by(id: &str, who: &str) -> String {
    named_by(id.to_owned(), |name| name.push_str(who))
}
