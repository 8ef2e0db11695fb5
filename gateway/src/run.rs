//! Lifecycle: load, adopt, bind, serve, stop.

mod open;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use kavadam_domain::Mac;
use kavadam_firewall::{Events, FirewallError, Gate, GateEvent, Layout};
use kavadam_radius::dynamic::DynamicServer;
use kavadam_radius::tls::TlsError;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::GatewayConfig;
use crate::core::{Command, Core, Now, Settings};
use crate::courier::{Courier, CourierHandle};
use crate::devices::Devices;
use crate::engine::{Engine, EngineHandle, Message};
use crate::guard::Guard;
use crate::http::{self, Doors, TlsDoor};
use crate::leases::LeaseKeeper;
use crate::names::NameDoor;
use crate::onlook::Onlooker;
use crate::reload::Reloader;
use crate::report::Report;
use crate::sightings::Sightings;
use crate::spool::SpoolError;
use crate::{CertificateError, clock, lease, neighbours};
use open::{load, open_doors, open_spool, opening};

/// How long a stop waits for the server to take what is spooled; the rest is delivered after the next start.
const LAST_DELIVERY: Duration = Duration::from_secs(3);

/// Why the gateway cannot start, or stopped of itself.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The packet filter.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The API's certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificates for RADIUS over TLS.
    #[error("gateway.radius.tls: {0}")]
    RadiusTls(#[from] TlsError),
    /// A port, socket or directory.
    #[error("cannot open {what}: {error}")]
    Open {
        /// What it is for, and where.
        what: String,
        /// Why not.
        error: io::Error,
    },
    /// A part ended by a defect; the process should end too and be started anew.
    #[error("a part of the gateway ended unexpectedly: {0}")]
    Ended(&'static str),
}

/// Starts and runs a gateway until cancelled.
///
/// # Errors
/// [`GatewayError`].
pub async fn run(config: GatewayConfig, cancel: CancellationToken) -> Result<(), GatewayError> {
    start(config).await?.run(cancel).await
}

/// A gateway with everything bound, sessions adopted, and nothing served yet.
pub struct Gateway {
    config: GatewayConfig,
    events: Events,
    guard: Guard,
    engine: Engine<Arc<Gate>>,
    first: Vec<Command>,
    courier: Courier,
    courier_handle: CourierHandle,
    keeper: LeaseKeeper<Arc<Gate>>,
    devices: Devices,
    handle: EngineHandle,
    lease_socket: tokio::net::UnixDatagram,
    orders: DynamicServer<EngineHandle>,
    names: NameDoor<Arc<Gate>>,
    reloader: Reloader,
    doors: Vec<(TcpListener, Router, Option<TlsDoor>)>,
    tls: Option<TlsDoor>,
}

/// Tells whether a running gateway still works.
#[derive(Clone)]
pub struct Pulse(EngineHandle);

impl Pulse {
    /// Resolves when the engine, through which every login and every order goes, has answered; `false` if it is gone.
    pub async fn beats(&self) -> bool {
        self.0.answers().await
    }
}

/// Loads the packet filter, adopts its sessions, opens the spool, binds every port.
///
/// # Errors
/// [`GatewayError`]: nothing is served; sessions in the kernel go on.
pub async fn start(config: GatewayConfig) -> Result<Gateway, GatewayError> {
    let tls = config.api.as_ref().map(TlsDoor::open).transpose()?;
    // Before the sessions are listed, so that no depletion falls between.
    let mut events = Gate::events(&config.layout())?;
    let (gate, found) = load(&config).await?;
    events.hear_others_than(&gate)?;
    let spool = open_spool(&config.state_dir).await?;
    let now = clock::both();

    let called = neighbours::own_mac(&config.lan_if).ok().flatten();
    let called = called.unwrap_or(Mac([0; 6]));
    let client = Arc::new(config.client()?);
    let left = spool.waiting().await?;
    let (courier, courier_handle) = Courier::new(spool.clone(), Arc::clone(&client), called.to_string(), left);
    let seed = rand::random();
    let settings = Settings {
        interim: config.interim,
        called_station_id: called.to_string(),
        seed,
    };
    let mut core = Core::new(settings, Arc::clone(&gate));
    let is_fresh = found.is_empty();
    tracing::info!(sessions = found.len(), "sessions found in the kernel");
    let mut first = core.adopt(found, spool.sessions().await?, now);
    if is_fresh {
        first.push(announce(seed, now));
    }

    let devices = Devices::on(&config.lan_if);
    let channel = EngineHandle::new();
    let handle = channel.0.clone();
    let layout = Arc::new(Mutex::new(config.layout()));
    let guard = Guard {
        gate: Arc::clone(&gate),
        lan_if: config.lan_if.clone(),
        sightings: Sightings::default(),
        layout: Arc::clone(&layout),
        engine: handle.clone(),
        changed: Arc::default(),
    };
    // What others have done to the sessions while no gateway ran is looked for at once.
    guard.changed.notify_one();
    let engine_handle = handle.clone();
    // dnsmasq.
    let resolver = SocketAddr::new(config.lan4.addr().into(), 53);
    let names = NameDoor::bind(Arc::clone(&gate), &config, devices.clone(), resolver);
    let names = names.map_err(opening(
        "the ports for names, gateway.names_port and citizen_names_port",
    ))?;
    let reloader = Reloader {
        gate: Arc::clone(&gate),
        answerer: names.answerer(),
        layout,
        reads_all_names: config.reads_all_names(),
    };
    let keeper = LeaseKeeper::new(
        gate,
        devices.clone(),
        handle.clone(),
        config.lease_file.clone(),
        config.dnsmasq.pool(),
    );
    let lease_socket = lease::listen(&config.lease_socket)
        .map_err(opening(format!("the lease socket {}", config.lease_socket.display())))?;
    let orders = DynamicServer::bind(config.dynamic(), handle.clone())
        .map_err(opening(format!("the port for orders {}", config.coa_listen)))?;
    client.take_orders(&orders);
    let doors = open_doors(
        &config,
        &Doors::new(&config, called, handle, devices.clone()),
        tls.as_ref(),
    )?;
    let mut engine = Engine::new(core, spool, courier_handle.clone(), client, channel, devices.clone());
    engine.ports.clone_from(&config.ports);
    Ok(Gateway {
        engine,
        config,
        events,
        guard,
        first,
        courier,
        courier_handle,
        keeper,
        devices,
        handle: engine_handle,
        lease_socket,
        orders,
        names,
        reloader,
        doors,
        tls,
    })
}

/// With an empty kernel every session the server still knows of is over.
fn announce(seed: u64, now: Now) -> Command {
    Command::Spool(Box::new(Report::on(format!("{seed:016x}-on"), now.wall)))
}

impl Gateway {
    /// For a watchdog.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse(self.handle.clone())
    }

    /// For commands that look on.
    #[must_use]
    pub fn onlooker(&self) -> Onlooker {
        Onlooker {
            engine: self.handle.clone(),
            sightings: self.guard.sightings.clone(),
            fingerprints: self.keeper.fingerprints(),
        }
    }

    /// For a changed configuration.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Serves until cancelled. People stay online; what is spooled is delivered if the server answers at once.
    ///
    /// # Errors
    /// [`GatewayError::Ended`]: a part ended by itself.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), GatewayError> {
        let (stop, stop_engine) = (CancellationToken::new(), CancellationToken::new());
        let stop_courier = CancellationToken::new();
        let mut parts: JoinSet<&'static str> = JoinSet::new();
        let (gate, changed) = (Arc::clone(&self.guard.gate), Arc::clone(&self.guard.changed));
        // Whoever holds a lease may be heard before anything is served; the engine hears of them when it runs.
        self.keeper.read_file().await;
        let name = &self.config.nas_identifier;
        tracing::info!(nas = name, "gateway serves");

        let courier = tokio::spawn(self.courier.run(stop_courier.clone()));
        let mut engine = tokio::spawn(self.engine.run(self.first, stop_engine.clone()));
        parts.spawn(named("lease events", self.keeper.run(self.lease_socket, stop.clone())));
        parts.spawn(named("orders", self.orders.run(stop.clone())));
        parts.spawn(named("the door for names", self.names.run(stop.clone())));
        parts.spawn(named(
            "kernel events",
            hear(
                self.events,
                self.config.layout(),
                gate,
                self.handle,
                changed,
                stop.clone(),
            ),
        ));
        parts.spawn(named("the guard of the gate", self.guard.run(stop.clone())));
        for (listener, router, tls) in self.doors {
            parts.spawn(named(
                "an HTTP door",
                http::serve(listener, router, tls, self.devices.clone(), stop.clone()),
            ));
        }
        if let Some(tls) = self.tls {
            parts.spawn(named("the certificate watch", tls.watch(stop.clone())));
        }
        let ended = tokio::select! {
            () = cancel.cancelled() => None,
            part = parts.join_next() => Some(part.and_then(Result::ok).unwrap_or("a task that panicked")),
            _ = &mut engine => Some("the engine"),
        };
        if let Some(part) = ended {
            stop.cancel();
            stop_engine.cancel();
            stop_courier.cancel();
            return Err(GatewayError::Ended(part));
        }
        let engine = wind_down(parts, engine, stop, stop_engine).await?;
        if !self.courier_handle.drained(LAST_DELIVERY).await {
            tracing::info!(
                waiting = self.courier_handle.backlog(),
                "accounting waits on disk for the next start"
            );
        }
        stop_courier.cancel();
        courier.await.map_err(|_| GatewayError::Ended("accounting"))?;
        engine.spool.close().await;
        tracing::info!(
            online = engine.core.online(),
            "gateway stopped; sessions go on in the kernel"
        );
        Ok(())
    }
}

/// Ends the doors and then the engine, which gives what it was: whoever is at a door waits for what the engine has to say.
pub(crate) async fn wind_down<E>(
    mut doors: JoinSet<&'static str>,
    engine: JoinHandle<E>,
    stop_doors: CancellationToken,
    stop_engine: CancellationToken,
) -> Result<E, GatewayError> {
    stop_doors.cancel();
    while doors.join_next().await.is_some() {}
    stop_engine.cancel();
    engine.await.map_err(|_| GatewayError::Ended("the engine"))
}

async fn named(name: &'static str, part: impl Future<Output = ()>) -> &'static str {
    part.await;
    name
}

/// Passes the kernel's news on; when they can no longer be heard, hears anew and looks at everything.
async fn hear(
    mut events: Events,
    layout: Layout,
    gate: Arc<Gate>,
    engine: EngineHandle,
    changed: Arc<Notify>,
    cancel: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Ok(GateEvent::Changed) => changed.notify_one(),
            Ok(GateEvent::Meddled) => {
                gate.suspect();
                changed.notify_one();
            }
            Ok(event) => {
                if event == GateEvent::Resync {
                    // Nobody but us may have changed what is ours alone.
                    if !gate.is_owned() {
                        gate.suspect();
                    }
                    changed.notify_one();
                }
                engine.send(Message::Gate(event)).await;
            }
            Err(error) => {
                tracing::error!(%error, "cannot hear the kernel");
                tokio::time::sleep(Duration::from_secs(1)).await;
                if let Ok(mut anew) = Gate::events(&layout)
                    && anew.hear_others_than(&gate).is_ok()
                {
                    events = anew;
                    if !gate.is_owned() {
                        gate.suspect();
                    }
                    changed.notify_one();
                    engine.send(Message::Gate(GateEvent::Resync)).await;
                }
            }
        }
    }
}
