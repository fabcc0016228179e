//! `run`: the operator itself.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::controller::{self, Candidacy, LeaderElection, Scope, SecretTracking};
use crate::http::{Endpoints, Readiness, serve};
use crate::leader::Terms;
use crate::telemetry::{LogFormat, Metrics, logs};

/// How the operator runs. Each flag has a twin in the environment.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The kubeconfig. Default: KUBECONFIG, the usual file, or the service account of the pod.
    #[arg(long, env = "MICROSERVICE_KUBECONFIG")]
    kubeconfig: Option<std::path::PathBuf>,
    /// The context of the kubeconfig. Default: its current one.
    #[arg(long, env = "MICROSERVICE_CONTEXT")]
    context: Option<String>,
    /// Serve these namespaces only, separated by commas. Default: all.
    #[arg(long, env = "MICROSERVICE_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Read Secrets, for files with track: Snapshot. Needs the right to.
    #[arg(long, env = "MICROSERVICE_TRACK_SECRETS")]
    track_secrets: bool,
    /// How many services are worked on at a time.
    #[arg(long, env = "MICROSERVICE_CONCURRENCY", default_value_t = 64)]
    concurrency: usize,
    /// How many rollouts may be under way at a time; the others wait in order. One that waits for a person or is only watched still does not count. Default: as many as are asked for.
    #[arg(long, env = "MICROSERVICE_MAX_ROLLOUTS", value_parser = clap::value_parser!(u32).range(1..))]
    max_rollouts: Option<u32>,
    /// Where /metrics, /livez and /readyz are served.
    #[arg(long, env = "MICROSERVICE_METRICS_ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,
    /// Which of several replicas acts. Auto: the one that holds a Lease, where --lease-namespace or the namespace of this pod says where that is; else this one. Disabled: this one, which must be the only one.
    #[arg(
        long,
        env = "MICROSERVICE_LEADER_ELECTION",
        value_enum,
        default_value_t,
        ignore_case = true
    )]
    leader_election: ElectionMode,
    /// Where the Lease is. Default: POD_NAMESPACE, or in a pod its namespace.
    #[arg(long, env = "MICROSERVICE_LEASE_NAMESPACE")]
    lease_namespace: Option<String>,
    /// The name of the Lease. Operators that serve different namespaces take different ones.
    #[arg(
        long,
        env = "MICROSERVICE_LEASE_NAME",
        default_value = "microservice-operator"
    )]
    lease_name: String,
    /// How long others leave a Lease alone whose leader gives no sign.
    #[arg(long, env = "MICROSERVICE_LEASE_DURATION_SECONDS", default_value_t = 15)]
    lease_duration_seconds: u32,
    /// How long a leader acts after its last renewal. Less than the duration.
    #[arg(long, env = "MICROSERVICE_LEASE_RENEW_DEADLINE_SECONDS", default_value_t = 10)]
    lease_renew_deadline_seconds: u32,
    /// The pause between two renewals.
    #[arg(long, env = "MICROSERVICE_LEASE_RETRY_SECONDS", default_value_t = 2)]
    lease_retry_seconds: u32,
    /// A level, or more in the syntax of EnvFilter, for example info,kube=debug.
    #[arg(long, env = "MICROSERVICE_LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// How log lines are written.
    #[arg(long, env = "MICROSERVICE_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// The name of this instance in events. Default: the host's name.
    #[arg(long, env = "POD_NAME")]
    instance: Option<String>,
}

/// Which of several replicas acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum ElectionMode {
    /// The one that holds the Lease, where it is known where that is.
    #[default]
    Auto,
    /// This one.
    Disabled,
}

/// Runs the operator until SIGTERM or SIGINT.
pub fn run(arguments: RunArguments) -> ExitCode {
    if let Err(error) = logs::install(arguments.log_format, &arguments.log_level) {
        return super::complain(&[error.to_string()]);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::complain(&[format!("the runtime cannot be started: {error}")]),
    };
    match runtime.block_on(operate(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::complain(&[format!("{error:#}")]),
    }
}

async fn operate(arguments: RunArguments) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let election = election(&arguments)?;
    let client = Client::try_from(config(&arguments).await?)?;
    let metrics = Arc::new(Metrics::new(Timestamp::now()));
    let readiness = Readiness::new();
    let shutdown = CancellationToken::new();
    let address = arguments.metrics_address;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--metrics-address {address} cannot be listened on"))?;
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "starting");
    let endpoints = Endpoints {
        metrics: Arc::clone(&metrics),
        readiness: readiness.clone(),
    };
    let pages = tokio::spawn(serve(listener, endpoints, shutdown.clone().cancelled_owned()));
    tokio::spawn(stop_on_signal(shutdown.clone()));
    let options = controller::Options {
        client,
        scope: if arguments.namespaces.is_empty() {
            Scope::Cluster
        } else {
            Scope::Namespaces(arguments.namespaces)
        },
        secrets: if arguments.track_secrets {
            SecretTracking::Enabled
        } else {
            SecretTracking::Disabled
        },
        concurrency: arguments.concurrency.max(1),
        max_rollouts: arguments.max_rollouts.and_then(|most| usize::try_from(most).ok()),
        instance: arguments.instance,
        election,
        metrics,
        readiness,
    };
    controller::run(options, shutdown.clone()).await;
    shutdown.cancel();
    pages.await??;
    tracing::info!("stopped");
    Ok(())
}

/// Where the namespace of a pod is told to its containers.
const NAMESPACE_OF_POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

fn election(arguments: &RunArguments) -> anyhow::Result<LeaderElection> {
    let terms = Terms::new(
        arguments.lease_duration_seconds,
        arguments.lease_renew_deadline_seconds,
        arguments.lease_retry_seconds,
    )?;
    let namespace = match arguments.leader_election {
        ElectionMode::Disabled => None,
        ElectionMode::Auto => arguments
            .lease_namespace
            .clone()
            .or_else(|| std::env::var("POD_NAMESPACE").ok())
            .or_else(|| std::fs::read_to_string(NAMESPACE_OF_POD).ok())
            .map(|namespace| namespace.trim().to_owned())
            .filter(|namespace| !namespace.is_empty()),
    };
    let Some(namespace) = namespace else {
        tracing::info!("no leader election: this must be the only replica");
        return Ok(LeaderElection::Disabled);
    };
    let host = || std::env::var("HOSTNAME").unwrap_or_else(|_| "microservice-operator".to_owned());
    let instance = arguments.instance.clone().unwrap_or_else(host);
    // A process is told from an earlier one in the same pod: that one may still have requests under way.
    let unique = RandomState::new().hash_one(std::process::id());
    Ok(LeaderElection::ByLease(Candidacy {
        namespace,
        name: arguments.lease_name.clone(),
        identity: format!("{instance}_{unique:016x}"),
        terms,
    }))
}

async fn config(arguments: &RunArguments) -> anyhow::Result<Config> {
    let options = KubeConfigOptions {
        context: arguments.context.clone(),
        ..KubeConfigOptions::default()
    };
    let mut config = match &arguments.kubeconfig {
        Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
        None if arguments.context.is_some() => Config::from_kubeconfig(&options).await?,
        None => Config::infer().await?,
    };
    // Each write has a time limit and its own way back; the client's retries would go on for minutes behind them.
    config.default_retry = false;
    let agent = concat!("microservice-operator/", env!("CARGO_PKG_VERSION"));
    config
        .headers
        .push((http::header::USER_AGENT, http::HeaderValue::from_static(agent)));
    Ok(config)
}

/// The first signal ends in order, the second at once.
async fn stop_on_signal(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if shutdown.is_cancelled() {
            std::process::exit(1);
        }
        tracing::info!("stopping");
        shutdown.cancel();
    }
}
