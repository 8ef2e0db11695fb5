//! Which door is where, and what stands in front of all of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use kavadam_domain::Timestamp;
use tower_http::compression::CompressionLayer;

use crate::citizen::Citizen;
use crate::config::PortalConfig;
use crate::doors::{self, entry, forms, reading};
use crate::dress::dress;
use crate::memory::Memory;
use crate::render::Renderer;

/// What every door shares.
pub struct Portal<C>(Arc<Inner<C>>);

struct Inner<C> {
    config: PortalConfig,
    citizen: C,
    renderer: Renderer,
    memory: Memory,
    clock: fn() -> Timestamp,
}

impl<C> Clone for Portal<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Portal<C> {
    pub fn config(&self) -> &PortalConfig {
        &self.0.config
    }

    pub fn citizen(&self) -> &C {
        &self.0.citizen
    }

    pub fn renderer(&self) -> &Renderer {
        &self.0.renderer
    }

    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }

    pub fn now(&self) -> Timestamp {
        (self.0.clock)()
    }
}

/// A token, a number and a code fit many times over.
const MOST_FORM_OCTETS: usize = 4_096;

/// The citizen portal. Serve it with [`crate::serve`], which tells it the devices' addresses and bounds what one
/// device can take up.
pub fn router<C: Citizen>(config: PortalConfig, citizen: C) -> Router {
    router_at(config, citizen, wall_clock)
}

/// The same by another clock.
pub fn router_at<C: Citizen>(config: PortalConfig, citizen: C, clock: fn() -> Timestamp) -> Router {
    let portal = Portal(Arc::new(Inner {
        config,
        citizen,
        renderer: Renderer::new(),
        memory: Memory::default(),
        clock,
    }));
    Router::new()
        .route("/", get(entry::enter))
        .route("/connecting", get(entry::connecting))
        .route("/disconnected", get(reading::disconnected))
        .route("/terms", get(reading::terms))
        .route("/privacy", get(reading::privacy))
        .route("/help", get(reading::help))
        .route("/number", post(forms::number).get(doors::begin))
        .route("/code", post(forms::code).get(doors::begin))
        .route("/resend", post(forms::resend).get(doors::begin))
        .route("/change", post(forms::change).get(doors::begin))
        .route("/connect", post(forms::connect).get(doors::begin))
        .route("/voucher", post(forms::voucher).get(doors::begin))
        .route("/disconnect", post(forms::disconnect).get(doors::begin))
        .layer(DefaultBodyLimit::max(MOST_FORM_OCTETS))
        .layer(from_fn_with_state(portal.clone(), dress))
        .layer(CompressionLayer::new())
        .with_state(portal)
}

fn wall_clock() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_secs(0) + since_1970
}
