//! A centre of paper with a gate of every profile, and orders for each that takes them.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavadam_access::api::{
    Accounted, AccountingReport, AuthorizeRequest, Calls, Candidates, Decision, Destination, Grant, Grounds, NasEntry,
    NasProof, Order, OrderAction, OrderAnswer, Proof, Role, Service,
};
use kavadam_domain::gate::{Abilities, Hold};
use kavadam_domain::{Language, Limits, Mac, NasId, Reason, SessionId, SiteId, SubscriberId, Timestamp};
use kavadam_radius::profile::Profiles;
use kavadam_radius::server::{Centre, OrderBook};

pub const SECRET: &[u8] = b"a-secret-of-the-gate";

/// Gates by the place of their profile in the list: session `2 × place` of each is to be changed, the one after it to end.
#[derive(Clone)]
pub struct Paper {
    pub names: Vec<String>,
    abilities: Vec<Abilities>,
    /// Where each takes orders.
    pub ports: Arc<Mutex<Vec<u16>>>,
    answered: Arc<Mutex<Vec<SessionId>>>,
}

impl Paper {
    pub fn of(profiles: &Profiles) -> Self {
        let (names, abilities) = profiles.abilities().into_iter().unzip();
        Self {
            names,
            abilities,
            ports: Arc::default(),
            answered: Arc::default(),
        }
    }

    fn gate(&self, place: usize) -> Option<Arc<NasEntry>> {
        Some(Arc::new(NasEntry {
            id: NasId(i64::try_from(place).unwrap()),
            name: "gate".into(),
            site: SiteId(1),
            source: IpAddr::V4(super::home(place)).into(),
            secret: SECRET.to_vec().into(),
            proof: NasProof::default(),
            uam_secret: Vec::new().into(),
            coa_port: *self.ports.lock().unwrap().get(place).unwrap_or(&3799),
            coa_host: None,
            profile: self.names.get(place)?.clone(),
            abilities: self.abilities[place],
        }))
    }

    fn orders(&self) -> Vec<(SessionId, NasId)> {
        let mut orders = Vec::new();
        for (place, can) in (0..).zip(&self.abilities) {
            let nas = NasId(place);
            orders.extend((can.rate == Hold::Always).then_some((SessionId(2 * place), nas)));
            orders.extend(can.is_cut.then_some((SessionId(2 * place + 1), nas)));
        }
        orders
    }

    pub async fn until_all_are_answered(&self) {
        let wanted = self.orders().len();
        let all = async {
            while self.answered.lock().unwrap().len() < wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), all)
            .await
            .expect("orders stay without an answer");
    }
}

fn limits() -> Limits {
    Limits {
        max_total_octets: Some((1 << 32) + 5),
        up_bits_per_sec: Some(2_000_000),
        down_bits_per_sec: Some(10_000_000),
        session_secs: Some(14_400),
        idle_secs: Some(600),
        interim_secs: Some(60),
        filter: "minors".parse().ok(),
        class: "free".parse().ok(),
        ..Limits::default()
    }
}

impl Centre for Paper {
    type Error = Infallible;

    async fn gates_at(&self, source: IpAddr) -> Result<Candidates, Infallible> {
        let place = (0..self.names.len()).find(|place| super::home(*place) == source);
        Ok(place.and_then(|place| self.gate(place)).into_iter().collect())
    }

    fn nas_seen(&self, _: NasId, _: SocketAddr, _: Timestamp) {}

    async fn authorize(&self, request: AuthorizeRequest, _: Timestamp) -> Result<Decision, Infallible> {
        if request.user_name == "nobody" {
            let reason = Reason::WrongCode(4);
            let message = reason.message(Language::Ml);
            let grounds = Grounds::default();
            return Ok(Decision::Reject {
                reason,
                message,
                grounds,
            });
        }
        let ms_chap2_success = match &request.service {
            Service::Login(Proof::MsChapV2(made)) => made.check("alias", "123456"),
            _ => None,
        };
        Ok(Decision::Accept(Grant {
            session: SessionId(1),
            user_name: "alias".into(),
            class: b"class".to_vec(),
            cui: b"alias".to_vec(),
            limits: limits(),
            is_renewable: false,
            plan: "citizen".into(),
            is_throttled: false,
            ms_chap2_success,
        }))
    }

    async fn account(&self, _: AccountingReport, _: Timestamp) -> Result<Accounted, Infallible> {
        Ok(Accounted::Unknown)
    }
}

impl OrderBook for Paper {
    type Error = Infallible;

    async fn orders_changed(&self) {
        std::future::pending::<()>().await;
    }

    async fn due_orders(&self, _: Timestamp) -> Result<Vec<(SessionId, NasId)>, Infallible> {
        let mut due = self.orders();
        let answered = self.answered.lock().unwrap();
        due.retain(|(session, _)| !answered.contains(session));
        Ok(due)
    }

    async fn decide_order(&self, session: SessionId, _: Timestamp) -> Result<Option<Order>, Infallible> {
        let place = usize::try_from(session.0 / 2).unwrap();
        let port = self.ports.lock().unwrap()[place];
        Ok(Some(Order {
            session,
            subscriber: SubscriberId(1),
            number: 1,
            nas: NasId(session.0 / 2),
            to: Destination::Seen((super::home(place), port).into()),
            acct_session_id: "s1".into(),
            user_name: "alias".into(),
            class: b"class".to_vec(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            ip: Some("10.80.1.1".parse().unwrap()),
            handle: Some("0A0700020000001A".into()),
            calls: Calls::default(),
            role: (session.0 % 2 == 0).then(|| Role {
                plan: "citizen".into(),
                is_throttled: false,
            }),
            action: if session.0 % 2 == 0 {
                OrderAction::Change(limits())
            } else {
                OrderAction::End
            },
            attempts: 0,
        }))
    }

    async fn order_answered(&self, order: &Order, _: OrderAnswer, _: Timestamp) -> Result<(), Infallible> {
        let mut answered = self.answered.lock().unwrap();
        if !answered.contains(&order.session) {
            answered.push(order.session);
        }
        Ok(())
    }

    async fn nas_by_id(&self, nas: NasId) -> Result<Option<NasEntry>, Infallible> {
        let gate = self.gate(usize::try_from(nas.0).unwrap());
        Ok(gate.map(|gate| NasEntry::clone(&gate)))
    }

    async fn nas_of_order(&self, order: &Order) -> Result<Option<NasEntry>, Infallible> {
        self.nas_by_id(order.nas).await
    }
}
