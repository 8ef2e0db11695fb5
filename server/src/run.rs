//! A running process: parts started in order, one cancellation for all, and no part that dies unnoticed.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use kavadam_access::sweep::Round;
use kavadam_access::{Access, Sealer, sms};
use kavadam_portal::{Peers, PerLanguage, PortalConfig, TokenKey};
use kavadam_radius::Retry;
use kavadam_radius::dynamic::DynamicClient;
use kavadam_radius::server::{Centre, RadiusServer, ServerConfig, run_orders};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, RadiusListen, read_secret};
use crate::vitals::Vitals;
use crate::watch::{self, Watch};
use crate::{centre, clock, notify, reload};

/// Between looks at sessions that fell silent.
const SWEEP: Duration = Duration::from_secs(10);
/// Longer without a look means that gates could not be heard: the database was away, the process stopped, or the clock was set.
const UNBROKEN: Duration = Duration::from_mins(1);
/// After a signal, for the last answers and the last accounting.
const FAREWELL: Duration = Duration::from_secs(10);

/// Runs the roles of a configuration, read from this file, until a signal, or until a part fails.
///
/// # Errors
/// A part could not start, or ended by itself.
pub async fn run(config: Config, path: &Path) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let mut parts = Parts {
        tasks: JoinSet::new(),
        // Before anybody is told that we are ready, and may ask us to end.
        ends: [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?],
        stop: stop.clone(),
    };
    let hangup = signal(SignalKind::hangup())?;
    let mut reloader = None;
    let mut vitals = Vitals::default();
    if config.file.role.has_centre() {
        vitals.access = Some(start_centre(&config, &mut parts).await?);
    }
    if config.file.role.has_gateway() {
        let gateway = config.gateway()?;
        make_socket_directory(&gateway.lease_socket)?;
        let gateway = kavadam_gateway::start(gateway).await?;
        vitals.gateway = Some(gateway.pulse());
        reloader = Some(gateway.reloader());
        start_onlooking(&config, gateway.onlooker(), &mut parts);
        let stop = stop.clone();
        parts.add("gateway", async move { Ok(gateway.run(stop).await?) });
    }
    let heeding = reload::heed(hangup, path.to_owned(), config.file.clone(), reloader, stop.clone());
    parts.add("reload", heeding);
    parts.add("heartbeat", forever(vitals.watch(stop.clone())));
    kavadam_sockets::close_the_rest();
    notify::ready();
    tracing::info!(role = ?config.file.role, "kavadam runs");
    parts.wait().await
}

/// Lets the command line ask what only the running gateway knows; nobody online depends on it.
fn start_onlooking(config: &Config, onlooker: kavadam_gateway::Onlooker, parts: &mut Parts) {
    match watch::socket::bind(&config.gate_socket()) {
        Ok(socket) => {
            let answer = move |line| watch::gate::answer(onlooker.clone(), line);
            let serving = watch::socket::serve(socket, answer, parts.stop.clone());
            parts.add("looking on", forever(serving));
        }
        Err(error) => tracing::warn!("`kavadam gate` shows no more than the kernel knows: {error:#}"),
    }
}

/// Under systemd it is there; by hand nobody else makes it.
fn make_socket_directory(socket: &Path) -> anyhow::Result<()> {
    let Some(dir) = socket.parent() else {
        return Ok(());
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
        .with_context(|| format!("cannot make {} (gateway.lease_socket)", dir.display()))
}

async fn start_centre(config: &Config, parts: &mut Parts) -> anyhow::Result<Access> {
    let (access, sealer) = centre::open_with_key(config).await?;
    centre::furnish(config, &access).await?;
    if config.file.role.has_radius() {
        let RadiusListen { auth, acct } = &config.radius_listen;
        let first = ServerConfig {
            auth: auth.first,
            acct: acct.first,
        };
        let server = RadiusServer::bind(first, access.clone())
            .and_then(|server| server.also_at(&auth.others, &acct.others))
            .with_context(|| format!("cannot listen for RADIUS on {auth} and {acct}"))?
            .with_profiles(Arc::clone(&config.profiles));
        let server = with_radsec(config, server)?;
        tracing::info!(%auth, %acct, "RADIUS server listens");
        // From an address that gates ask: it is the one they take orders from.
        let sources = auth.all().map(|place| place.ip()).filter(|ip| !ip.is_unspecified());
        let orders = run_orders(
            access.clone(),
            DynamicClient::new(sources, Retry::default()).over(server.links()),
            Arc::clone(&config.profiles),
            server.counts(),
            parts.stop.clone(),
        );
        parts.add("orders", forever(orders));
        let watch = Watch::new(access.clone(), server.counts(), server.tap());
        start_watch(config, watch, parts)?;
        parts.add("radius", forever(server.run(parts.stop.clone())));
        // Only who hears the gates can tell who fell silent.
        parts.add("sweep", sweep(access.clone(), parts.stop.clone()));
    }
    if config.file.role.has_portal() {
        start_portal(config, &access, &sealer, parts)?;
        start_sms(config, &access, parts)?;
    }
    Ok(access)
}

/// Opens the port for RADIUS over TLS, if it is on.
fn with_radsec<C: Centre>(config: &Config, server: RadiusServer<C>) -> anyhow::Result<RadiusServer<C>> {
    let Some(radsec) = config.radsec() else {
        return Ok(server);
    };
    let listen = radsec.listen;
    let server = server.with_radsec(radsec).context("radius.tls")?;
    tracing::info!(%listen, "RADIUS server listens for TLS");
    Ok(server)
}

/// Lets the command line and a metrics collector look on.
fn start_watch(config: &Config, watch: Watch, parts: &mut Parts) -> anyhow::Result<()> {
    // Nobody online depends on it, and a second RADIUS process may share the state.
    match watch::socket::bind(&config.watch_socket()) {
        Ok(socket) => parts.add(
            "watch",
            forever({
                let watch = watch.clone();
                let answer = move |line| watch::socket::answer(watch.clone(), line);
                watch::socket::serve(socket, answer, parts.stop.clone())
            }),
        ),
        Err(error) => tracing::warn!("`kavadam radius top` cannot look on: {error:#}"),
    }
    if let Some(listen) = config.metrics_listen {
        let listener = kavadam_sockets::listen(listen)
            .and_then(TcpListener::from_std)
            .with_context(|| format!("cannot listen for metrics on {listen} (metrics.listen)"))?;
        tracing::info!(%listen, "metrics are told");
        let router = watch::metrics::router(watch);
        let stop = parts.stop.clone();
        parts.add(
            "metrics",
            forever(kavadam_portal::serve(
                listener,
                router,
                Peers::Devices,
                stop.cancelled_owned(),
            )),
        );
    }
    Ok(())
}

fn start_portal(config: &Config, access: &Access, sealer: &Sealer, parts: &mut Parts) -> anyhow::Result<()> {
    let portal = &config.file.portal;
    let key = sealer.derive("portal token", &[]);
    let mut pages = PortalConfig::new(portal.public_url.parse()?, TokenKey::new(*key));
    pages.service = PerLanguage {
        ml: portal.service_ml.clone(),
        en: portal.service_en.clone(),
    };
    pages.operator = PerLanguage {
        ml: portal.operator_ml.clone(),
        en: portal.operator.clone(),
    };
    pages.helpdesk.clone_from(&portal.helpdesk);
    pages.sends_codes = config.file.sms.route != "log-nothing";
    pages.sees_devices = config.file.role.has_gateway();
    if config.file.role.has_gateway() {
        let gateway = config.gateway_outline()?;
        pages.home_gateway = Some(SocketAddr::new(gateway.lan4.addr().into(), gateway.uam_port));
    }
    let listener = kavadam_sockets::listen(config.portal_listen)
        .and_then(TcpListener::from_std)
        .with_context(|| format!("cannot listen for the portal on {}", config.portal_listen))?;
    tracing::info!(listen = %config.portal_listen, url = portal.public_url, "portal listens");
    let router = kavadam_portal::router(pages, access.clone());
    let peers = if config.file.role.has_gateway() {
        Peers::Devices
    } else {
        Peers::Gates
    };
    let stop = parts.stop.clone();
    parts.add(
        "portal",
        forever(kavadam_portal::serve(listener, router, peers, stop.cancelled_owned())),
    );
    Ok(())
}

fn start_sms(config: &Config, access: &Access, parts: &mut Parts) -> anyhow::Result<()> {
    let file = &config.file.sms;
    if file.route != "mobile-seva" {
        tracing::warn!("codes are sent nowhere: sms.route is {}", file.route);
        return Ok(());
    }
    let route = sms::MobileSeva::new(sms::MobileSevaConfig {
        url: file.url.clone(),
        username: file.username.clone(),
        password: read_secret(&file.password_file)?,
        secure_key: read_secret(&file.secure_key_file)?,
        sender_id: file.sender_id.clone(),
        template_id_en: file.template_id_en.clone(),
        template_id_ml: file.template_id_ml.clone(),
    })?;
    let worker = sms::run(access.clone(), route, config.texts(), clock::now, parts.stop.clone());
    parts.add("sms", forever(worker));
    Ok(())
}

async fn sweep(access: Access, stop: CancellationToken) -> anyhow::Result<()> {
    let work = async {
        let mut round = Round::default();
        let mut up_since = clock::now();
        let mut looked_at = up_since;
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = clock::now();
            if now.since(looked_at) > UNBROKEN || now < looked_at {
                tracing::warn!("the service was away, or the clock was set: silence counts from now");
                up_since = now;
            }
            match access.sweep(&mut round, up_since, now).await {
                Ok(ended) => {
                    looked_at = clock::now();
                    if ended > 0 {
                        tracing::info!(ended, "sessions that fell silent were taken for ended");
                    }
                }
                Err(error) => tracing::error!(%error, "cannot look for silent sessions"),
            }
        }
    };
    stop.run_until_cancelled(work).await;
    Ok(())
}

/// A part that ends only when it is told to.
async fn forever(part: impl Future<Output = ()>) -> anyhow::Result<()> {
    part.await;
    Ok(())
}

/// The parts of the process.
struct Parts {
    /// SIGTERM and SIGINT.
    ends: [Signal; 2],
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    stop: CancellationToken,
}

impl Parts {
    fn add(&mut self, name: &'static str, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { (name, part.await) });
    }

    /// Until a signal, or the end of a part, which is a failure unless all were told to end.
    async fn wait(mut self) -> anyhow::Result<()> {
        let [terminate, interrupt] = &mut self.ends;
        let outcome = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            ended = self.tasks.join_next() => Err(failure(ended)),
        };
        tracing::info!("stopping; people online stay online");
        notify::stopping();
        self.stop.cancel();
        let farewell = async { while self.tasks.join_next().await.is_some() {} };
        tokio::select! {
            () = farewell => {}
            () = tokio::time::sleep(FAREWELL) => tracing::warn!("some parts did not end in time"),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        outcome
    }
}

fn failure(ended: Option<Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok((name, Err(error)))) => error.context(format!("the part `{name}` failed")),
        Some(Ok((name, Ok(())))) => anyhow!("the part `{name}` ended by itself"),
        Some(Err(error)) => anyhow!("a part crashed: {error}"),
        None => anyhow!("nothing to run"),
    }
}
