//! The way to the cluster, as kubectl would go it.

use std::path::PathBuf;

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use super::completion;
use super::trouble::{self, Asked, Trouble, chain};
use crate::api::Microservice;
use crate::plugin::hand_over::Way;

/// Which cluster and namespace.
#[derive(Args, Clone, Debug, Default)]
pub struct Place {
    /// The kubeconfig. Default: KUBECONFIG, or the usual file.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. Default: its current one.
    #[arg(long, global = true, value_name = "NAME", add = completion::contexts())]
    pub context: Option<String>,
    /// The namespace. Default: that of the context.
    #[arg(short, long, global = true, value_name = "NAME", add = completion::namespaces())]
    pub namespace: Option<String>,
}

/// A client, and the namespace that is meant.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

impl Place {
    /// Connects. Nothing is asked of the cluster yet.
    ///
    /// # Errors
    /// Where the kubeconfig leads nowhere.
    pub async fn connect(&self) -> Result<Connection, Trouble> {
        let mut config = self.config().await?;
        // A person waits: an error now is better than silence for minutes.
        config.default_retry = false;
        let agent = concat!("kubectl-microservice/", env!("CARGO_PKG_VERSION"));
        config
            .headers
            .push((http::header::USER_AGENT, http::HeaderValue::from_static(agent)));
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)
            .map_err(|error| Trouble::from(format!("the kubeconfig cannot be used: {}", chain(&error))))?;
        Ok(Connection { client, namespace })
    }

    async fn config(&self) -> Result<Config, Trouble> {
        let broken = |error: &dyn std::error::Error| {
            Trouble::from(format!(
                "the kubeconfig cannot be used: {}: check --kubeconfig, --context and KUBECONFIG",
                chain(error)
            ))
        };
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|error| broken(&error))?;
                let config = Config::from_custom_kubeconfig(file, &options).await;
                config.map_err(|error| broken(&error))
            }
            // Outside of a cluster it is no news that this is not a pod.
            None if self.context.is_some() || std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() => {
                let config = Config::from_kubeconfig(&options).await;
                config.map_err(|error| broken(&error))
            }
            None => Config::infer().await.map_err(|error| broken(&error)),
        }
    }

    /// How kubectl gets there.
    pub fn way(&self, namespace: &str) -> Way {
        Way {
            kubeconfig: self.kubeconfig.as_ref().map(|path| path.display().to_string()),
            context: self.context.clone(),
            namespace: namespace.to_owned(),
        }
    }
}

impl Connection {
    /// The Microservices of the namespace.
    pub fn services(&self) -> Api<Microservice> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What is asked of a Microservice, for what is said when it fails.
    pub fn asked<'a>(&'a self, verb: &'a str, name: &'a str) -> Asked<'a> {
        Asked {
            verb,
            resource: "microservices",
            name: Some(name),
            namespace: &self.namespace,
        }
    }

    /// A Microservice as it is now.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn service(&self, name: &str) -> Result<Microservice, Trouble> {
        match self.services().get(name).await {
            Ok(service) => Ok(service),
            Err(error) => Err(self.explained(&self.asked("get", name), &error).await),
        }
    }

    /// What an error means. Where the server does not know Microservices, it is asked how old it is.
    pub async fn explained(&self, asked: &Asked<'_>, error: &kube::Error) -> Trouble {
        if trouble::knows_none(error)
            && let Ok(version) = self.client.apiserver_version().await
            && let Some(old) = trouble::too_old(&version.major, &version.minor)
        {
            return old;
        }
        asked.failed(error)
    }
}
