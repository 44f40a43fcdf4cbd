//! `memring prestop`: what Kubernetes runs in a pod before it stops it.
//!
//! A pod that scaling in removes must hand its share of the ring over first; a pod that is only restarted must not, for it is
//! back soon and SIGTERM does what that needs. Which of the two it is, the pod's StatefulSet says. Must not know how a share
//! goes over (`drain` asks the node), and must not fail: a hook that fails takes the pod's time to stop from it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use memring_server::config;

use crate::kubernetes::{ApiServer, StatefulSet};
use crate::{drain, say};

/// Where Kubernetes mounts what a pod asks the API server with.
const CREDENTIALS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The longest name of an object, as in RFC 1123.
const NAME_BYTES_MAX: usize = 253;

pub(crate) fn command() -> Command {
    let told = |name: &'static str, variable: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("NAME").env(variable).hide_env_values(true).help(help)
    };
    let time = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("TIME").default_value(default).help(help)
    };
    Command::new("prestop")
        .about("Before Kubernetes stops this pod: drain the node if scaling in removes it")
        .arg(told("statefulset", "MEMRING_STATEFULSET", "This pod's StatefulSet; without it nothing is drained"))
        .arg(told("pod", "POD_NAME", "This pod"))
        .arg(told("namespace", "POD_NAMESPACE", "Its namespace"))
        .arg(time("wait", "2m", "The most that a drain is waited for"))
        .arg(time("linger", "0s", "The least that this takes, so that services have forgotten the pod before it stops"))
        .arg(
            Arg::new("admin")
                .long("admin")
                .value_name("HOST:PORT")
                .default_value("localhost:11213")
                .help("Admin port of this pod's node"),
        )
        .arg(told("api-host", "KUBERNETES_SERVICE_HOST", "The API server").value_name("HOST"))
        .arg(
            told("api-port", "KUBERNETES_SERVICE_PORT", "Its port")
                .value_name("PORT")
                .default_value("443")
                .value_parser(value_parser!(u16).range(1..)),
        )
        .arg(time("api-wait", "5s", "The most that the API server is waited for"))
        .arg(
            Arg::new("credentials")
                .long("credentials")
                .value_name("DIR")
                .default_value(CREDENTIALS)
                .value_parser(value_parser!(PathBuf))
                .help("Folder with the files token and ca.crt"),
        )
        .after_help(
            "The StatefulSet is asked how many pods it is to have. A pod past these drains its node, as memring drain does. Any\n\
             other is back soon: nothing is done, for SIGTERM does what a restart needs. An API server that cannot be asked, and\n\
             a StatefulSet that is gone or going, count as a restart. The exit code is 0, unless a flag is wrong.\n\n\
             Examples:\n  memring prestop --wait 5m --linger 5s          in a pod, as its preStop hook",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let hook = match Hook::read(matches) {
        Ok(hook) => hook,
        Err(error) => {
            eprintln!("memring: {error}");
            return ExitCode::from(crate::outcome::USAGE);
        }
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(hook.act()),
        Err(error) => told(&format!("cannot start: {error}")),
    }
    ExitCode::SUCCESS
}

/// All that the hook is told, checked.
struct Hook {
    /// `None`: nobody is asked, and nothing drained.
    pod: Option<Pod>,
    wait: Duration,
    linger: Duration,
    admin: String,
    api_host: Option<String>,
    api_port: u16,
    api_wait: Duration,
    credentials: PathBuf,
}

/// A pod of a StatefulSet.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pod {
    stateful_set: String,
    namespace: String,
    ordinal: u32,
}

/// Whether a pod is to come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Restart,
    Deleted,
    /// Of a set of so many pods it is none.
    ScaledIn(u32),
}

impl Verdict {
    /// By what the API server says of the pod's set; `None` is a set that is not there.
    fn of(ordinal: u32, set: Option<&StatefulSet>) -> Self {
        match set {
            None => Self::Deleted,
            Some(set) if set.is_being_deleted() => Self::Deleted,
            Some(set) if set.wants(ordinal) => Self::Restart,
            Some(set) => Self::ScaledIn(set.replicas()),
        }
    }
}

impl Hook {
    fn read(matches: &ArgMatches) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).filter(|text| !text.is_empty()).cloned();
        let time = |name: &str| {
            let text = matches.get_one::<String>(name).map_or("", String::as_str);
            config::duration(text).map_err(|why| format!("--{name} {text}: {why}"))
        };
        let needed = |name: &str| text(name).ok_or_else(|| format!("--{name} is missing: --statefulset is given"));
        let pod = match text("statefulset") {
            Some(set) => Some(Pod::new(set, &needed("pod")?, needed("namespace")?)?),
            None => None,
        };
        Ok(Self {
            pod,
            wait: time("wait")?,
            linger: time("linger")?,
            admin: text("admin").unwrap_or_default(),
            api_host: text("api-host"),
            api_port: matches.get_one("api-port").copied().unwrap_or_default(),
            api_wait: time("api-wait")?,
            credentials: matches.get_one("credentials").cloned().unwrap_or_default(),
        })
    }

    /// Decides and drains; not sooner done than after the time to linger.
    async fn act(&self) {
        tokio::join!(self.drain_if_scaled_in(), tokio::time::sleep(self.linger));
    }

    async fn drain_if_scaled_in(&self) {
        let Some(pod) = &self.pod else { return told("no StatefulSet is named: taken for a restart") };
        match self.verdict(pod).await {
            Ok(Verdict::Restart) => told("the pod is back soon: nothing to drain"),
            Ok(Verdict::Deleted) => told(&format!("statefulset {} is deleted: nothing to drain", pod.stateful_set)),
            Ok(Verdict::ScaledIn(replicas)) => {
                told(&format!("statefulset {} is to have {replicas} pods, and not this one", pod.stateful_set));
                self.drain().await;
            }
            Err(error) => told(&format!("the API server cannot be asked, taken for a restart: {error}")),
        }
    }

    async fn verdict(&self, pod: &Pod) -> Result<Verdict, String> {
        let host = self.api_host.as_deref().ok_or("KUBERNETES_SERVICE_HOST is not set")?;
        let Self { api_port: port, api_wait: patience, ref credentials, .. } = *self;
        let api = ApiServer { host, port, credentials, patience };
        let set = api.stateful_set(&pod.namespace, &pod.stateful_set).await?;
        Ok(Verdict::of(pod.ordinal, set.as_ref()))
    }

    async fn drain(&self) {
        let drained = async {
            drain::begin(&self.admin).await?;
            drain::watch(&self.admin).await
        };
        match tokio::time::timeout(self.wait, drained).await {
            Ok(Ok(total)) => told(&format!("drained: {total} partitions are complete elsewhere")),
            Ok(Err(error)) => told(&format!("not drained: {error}")),
            Err(_elapsed) => told(&format!("not drained within {:?}: the stop goes on", self.wait)),
        }
    }
}

impl Pod {
    /// From the pod's name, which is its set's and its number.
    fn new(stateful_set: String, pod: &str, namespace: String) -> Result<Self, String> {
        for (flag, name) in [("statefulset", stateful_set.as_str()), ("namespace", &namespace)] {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
            if name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
                return Err(format!("--{flag} {name}: expected a name of Kubernetes"));
            }
        }
        let number = pod.strip_prefix(&stateful_set).and_then(|rest| rest.strip_prefix('-'));
        // A sign would be read too.
        let number = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let ordinal = number.and_then(|number| number.parse().ok());
        let ordinal = ordinal.ok_or_else(|| format!("--pod {pod}: no pod of --statefulset {stateful_set}"))?;
        Ok(Self { stateful_set, namespace, ordinal })
    }
}

fn told(line: &str) {
    say(&format!("prestop: {line}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordinal(set: &str, pod: &str) -> Option<u32> {
        Pod::new(set.to_owned(), pod, "default".to_owned()).ok().map(|pod| pod.ordinal)
    }

    #[test]
    fn a_pod_is_its_set_and_a_number() {
        for (set, pod, expected) in [
            ("memring", "memring-0", Some(0)),
            ("r-memring", "r-memring-12", Some(12)),
            ("memring", "memring-1-2", None),
            ("memring", "memring-", None),
            ("memring", "memring-+1", None),
            ("memring", "memring-4294967296", None),
            ("memring", "memring0", None),
            ("memring", "other-0", None),
            ("memring/x", "memring/x-0", None),
        ] {
            assert_eq!(ordinal(set, pod), expected, "{set} {pod}");
        }
    }

    #[test]
    fn only_a_pod_past_the_wanted_ones_is_scaled_in() {
        let set = |json: &str| serde_json::from_str::<StatefulSet>(json).expect("understood");
        let three = set(r#"{"metadata": {}, "spec": {"replicas": 3}}"#);
        let going = set(r#"{"metadata": {"deletionTimestamp": "2026-11-23T00:00:00Z"}, "spec": {"replicas": 3}}"#);
        for (ordinal, set, expected) in [
            (2, Some(&three), Verdict::Restart),
            (3, Some(&three), Verdict::ScaledIn(3)),
            (3, Some(&going), Verdict::Deleted),
            (3, None, Verdict::Deleted),
        ] {
            assert_eq!(Verdict::of(ordinal, set), expected, "{ordinal} {set:?}");
        }
    }
}
