//! How the domain's types stand in a column: each as one of the few types that both databases keep alike.

use std::net::IpAddr;

use ipnet::IpNet;
use kavadam_domain::challenge::ChallengeState;
use kavadam_domain::plan::Period;
use kavadam_domain::session::SessionState;
use kavadam_domain::{
    CertificateName, ChallengeId, ClassName, DeviceId, EntitlementId, FilterName, Language, LeaseId, Mac, MobileNumber,
    NasId, PlanId, SessionId, SiteId, SubscriberId, Timestamp,
};
use sqlx::error::BoxDynError;
use sqlx::{ColumnIndex, Decode, Row, Type};

/// Can be a statement's parameter.
pub(crate) trait Bind {
    type Raw;
    fn raw(&self) -> Self::Raw;
}

/// Can be read from a row.
pub(crate) trait Read: Sized {
    type Raw;
    fn from_raw(raw: Self::Raw) -> Result<Self, BoxDynError>;
}

/// Reads the column `name` of a row of either database.
pub(crate) fn read<'r, R, T>(row: &'r R, name: &'static str) -> sqlx::Result<T>
where
    R: Row,
    T: Read,
    T::Raw: Decode<'r, R::Database> + Type<R::Database>,
    &'static str: ColumnIndex<R>,
{
    let raw: T::Raw = row.try_get(name)?;
    T::from_raw(raw).map_err(|source| sqlx::Error::ColumnDecode {
        index: name.to_owned(),
        source,
    })
}

impl<T: Bind> Bind for Option<T> {
    type Raw = Option<T::Raw>;
    fn raw(&self) -> Self::Raw {
        self.as_ref().map(Bind::raw)
    }
}

impl<T: Read> Read for Option<T> {
    type Raw = Option<T::Raw>;
    fn from_raw(raw: Self::Raw) -> Result<Self, BoxDynError> {
        raw.map(T::from_raw).transpose()
    }
}

impl<T: Bind> Bind for &T {
    type Raw = T::Raw;
    fn raw(&self) -> Self::Raw {
        (*self).raw()
    }
}

impl Bind for &str {
    type Raw = String;
    fn raw(&self) -> String {
        (*self).to_owned()
    }
}

impl Bind for &[u8] {
    type Raw = Vec<u8>;
    fn raw(&self) -> Vec<u8> {
        self.to_vec()
    }
}

macro_rules! column {
    ($($type:ty as $raw:ty: |$value:ident| $to:expr, |$read:ident| $from:expr;)*) => {$(
        impl Bind for $type {
            type Raw = $raw;
            fn raw(&self) -> $raw {
                let $value = self;
                $to
            }
        }
        impl Read for $type {
            type Raw = $raw;
            fn from_raw($read: $raw) -> Result<Self, BoxDynError> {
                $from
            }
        }
    )*};
}

macro_rules! id_columns {
    ($($type:ident),*) => { column! { $($type as i64: |id| id.0, |raw| Ok(Self(raw));)* } };
}

id_columns!(
    ChallengeId,
    DeviceId,
    EntitlementId,
    LeaseId,
    NasId,
    PlanId,
    SessionId,
    SiteId,
    SubscriberId,
    Timestamp
);

column! {
    bool as bool: |value| *value, |raw| Ok(raw);
    i64 as i64: |value| *value, |raw| Ok(raw);
    // Past 2^63 octets (a petabyte a second for two hours) a counter stands still rather than turn negative.
    u64 as i64: |value| i64::try_from(*value).unwrap_or(i64::MAX), |raw| Ok(raw.try_into()?);
    u32 as i64: |value| i64::from(*value), |raw| Ok(raw.try_into()?);
    u16 as i64: |value| i64::from(*value), |raw| Ok(raw.try_into()?);
    String as String: |value| value.clone(), |raw| Ok(raw);
    Vec<u8> as Vec<u8>: |value| value.clone(), |raw| Ok(raw);
    [u8; 16] as Vec<u8>: |value| value.to_vec(), |raw| sized(raw);
    [u8; 32] as Vec<u8>: |value| value.to_vec(), |raw| sized(raw);
    Mac as Vec<u8>: |mac| mac.0.to_vec(), |raw| sized(raw).map(Self);
    MobileNumber as String: |number| number.digits().to_owned(), |raw| Ok(raw.parse()?);
    IpAddr as String: |ip| ip.to_string(), |raw| Ok(raw.parse()?);
    CertificateName as String: |name| name.to_string(), |raw| Ok(raw.parse()?);
    FilterName as String: |name| name.to_string(), |raw| Ok(raw.parse()?);
    ClassName as String: |name| name.to_string(), |raw| Ok(raw.parse()?);
    IpNet as String: |net| net.to_string(), |raw| Ok(raw.parse()?);
    Language as String: |language| language.tag().to_owned(), |raw| known(Self::from_tag(&raw), &raw);
    SessionState as String: |state| state.word().to_owned(), |raw| known(Self::from_word(&raw), &raw);
    Period as String: |period| period_word(*period).to_owned(), |raw| known(period(&raw), &raw);
    ChallengeState as String: |state| challenge_word(*state).to_owned(), |raw| known(challenge_state(&raw), &raw);
}

fn sized<const N: usize>(raw: Vec<u8>) -> Result<[u8; N], BoxDynError> {
    raw.try_into()
        .map_err(|raw: Vec<u8>| format!("{} octets instead of {N}", raw.len()).into())
}

pub(crate) fn known<T>(found: Option<T>, word: &str) -> Result<T, BoxDynError> {
    found.ok_or_else(|| format!("unknown word `{word}`").into())
}

const fn period_word(period: Period) -> &'static str {
    match period {
        Period::Day => "day",
        Period::Week => "week",
        Period::Month => "month",
        Period::Once => "once",
    }
}

fn period(word: &str) -> Option<Period> {
    [Period::Day, Period::Week, Period::Month, Period::Once]
        .into_iter()
        .find(|period| period_word(*period) == word)
}

const fn challenge_word(state: ChallengeState) -> &'static str {
    match state {
        ChallengeState::Pending => "pending",
        ChallengeState::Verified => "verified",
        ChallengeState::Spent => "spent",
        ChallengeState::Superseded => "superseded",
    }
}

fn challenge_state(word: &str) -> Option<ChallengeState> {
    use ChallengeState::{Pending, Spent, Superseded, Verified};
    [Pending, Verified, Spent, Superseded]
        .into_iter()
        .find(|state| challenge_word(*state) == word)
}

/// An address in six octets rather than seventeen characters, where it is only remembered.
#[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) mod mac_octets {
    use kavadam_domain::Mac;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(crate) fn serialize<S: Serializer>(mac: &Option<Mac>, to: S) -> Result<S::Ok, S::Error> {
        mac.map(|mac| mac.0).serialize(to)
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Mac>, D::Error> {
        Ok(Option::<[u8; 6]>::deserialize(from)?.map(Mac))
    }
}
