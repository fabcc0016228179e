//! The kubectl plugin: arguments, the cluster, the terminal. What is said is decided in [`crate::plugin`].

mod completion;
mod connection;
mod ejecting;
mod importing;
mod offline;
mod simulating;
mod terminal;
mod trouble;
mod watching;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use kube::api::{ListParams, Patch, PatchParams};
use serde::Serialize;
use serde_json::json;

use self::connection::{Connection, Place};
use self::ejecting::EjectArguments;
use self::importing::ImportArguments;
use self::simulating::SimulateArguments;
use self::terminal::When;
use self::trouble::Trouble;
use crate::api::names::is_service_name;
use crate::api::{Microservice, Role};
use crate::cli::RenderArguments;
use crate::plugin::command::{Answer, Order, Verb, order};
use crate::plugin::goal::{Goal, Wait};
use crate::plugin::hand_over::{self, Task};
use crate::plugin::image::{ImageChange, set_image};
use crate::plugin::list::{Reach, list};
use crate::plugin::page::{Look, printable};
use crate::plugin::pods::PodLine;
use crate::plugin::tree::{Detail, Pods, Scene, tree};
use crate::plugin::{history, why};

/// The field manager of what people say. Not kubectl-..., whose fields Flux takes away.
const FIELD_MANAGER: &str = "microservice-cli";

/// Watch and steer the rollouts of Microservices.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-microservice",
    bin_name = "kubectl microservice",
    version,
    after_help = "Exit codes: 0 done, 1 rolled back, degraded or refused, 2 timed out, 3 anything else that went wrong."
)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Whether there is colour and line drawing
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: When,
    #[command(subcommand)]
    request: Request,
}

#[derive(Debug, Subcommand)]
enum Request {
    /// Show a service: its rollout, revisions, pods, checks and troubles
    Status(StatusArguments),
    /// List services
    List(ListArguments),
    /// Say what a service is waiting for, with the numbers
    Why(Shown),
    /// Wait for the end of a rollout, or for a place in it: 0 reached, 1 rolled back or degraded, 2 timed out
    Wait(WaitArguments),
    /// End the wait of the present step
    Promote(PromoteArguments),
    /// Take the candidate back; it stays rejected until a retry
    Abort(Said),
    /// Try again what was taken back
    Retry(Said),
    /// Let the rollout stand still; pod health still guards
    Pause(Said),
    /// Let a paused rollout go on
    Resume(Said),
    /// Make the pods anew, by a rollout
    Restart(Said),
    /// Make the revision as today's operator would, by a rollout
    Refresh(Said),
    /// Go back to the revision before, or to another one, and stay there
    Rollback(RollbackArguments),
    /// Let nothing new go out
    Freeze(FreezeArguments),
    /// Let it go out again
    Unfreeze(Said),
    /// Let a revision or image go out without steps and queue; pod health still guards
    Expedite(ExpediteArguments),
    /// Change the spec
    #[command(subcommand)]
    Set(SetWhat),
    /// Show the rollouts that ended, and the revisions that can be returned to
    History(HistoryArguments),
    /// Show what differs between the spec and the stable revision
    Diff(Shown),
    /// Show what the pods of a role write; further arguments are kubectl's
    Logs(HandOverArguments),
    /// Run a command in a pod of a role; further arguments are kubectl's
    Exec(HandOverArguments),
    /// Forward ports to a pod of a role; further arguments are kubectl's
    PortForward(HandOverArguments),
    /// Write plain manifests of all objects, and release them from the operator; no pod restarts
    Eject(EjectArguments),
    /// Print the Microservice that a Deployment, a Flagger Canary or an Argo Rollout becomes
    Import(ImportArguments),
    /// Print the objects of a first deployment of a file, without a cluster
    Render(FileArguments),
    /// Check a file, and say what may surprise, without a cluster
    Lint(FileArguments),
    /// Play the rollout of a file in virtual time, with what you want to go wrong, without a cluster
    Simulate(SimulateArguments),
    /// Say what a file would change, and whether it would make pods anew
    Plan(PlanArguments),
    /// Print a script that teaches a shell completion
    Completion {
        /// The shell
        shell: completion::Shell,
    },
}

#[derive(Args, Debug)]
struct Named {
    /// The service
    #[arg(value_parser = service_name, add = completion::names())]
    name: String,
}

#[derive(Args, Debug)]
struct Shown {
    #[command(flatten)]
    named: Named,
    /// How it is printed
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

#[derive(Args, Debug)]
struct Said {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Args, Debug)]
struct Patience {
    /// How long the operator is given to answer, for example 30s
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// As JSON.
    Json,
    /// As YAML.
    Yaml,
    /// With more columns.
    Wide,
}

/// How something is printed for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As JSON.
    Json,
    /// As YAML.
    Yaml,
}

impl Output {
    /// For programs; none for people.
    fn format(self) -> Option<Format> {
        match self {
            Self::Json => Some(Format::Json),
            Self::Yaml => Some(Format::Yaml),
            Self::Wide => None,
        }
    }
}

#[derive(Args, Debug)]
struct StatusArguments {
    #[command(flatten)]
    named: Named,
    /// Follow it
    #[arg(short, long)]
    watch: bool,
    /// How it is printed
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

#[derive(Args, Debug)]
struct ListArguments {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Follow them
    #[arg(short, long)]
    watch: bool,
    /// How they are printed
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

#[derive(Args, Debug)]
struct HistoryArguments {
    #[command(flatten)]
    named: Named,
    /// How it is printed
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

#[derive(Args, Debug)]
struct WaitArguments {
    #[command(flatten)]
    named: Named,
    /// promoted, healthy, rolled-back, paused or step=N; of several the first that is reached
    #[arg(
        long = "for",
        value_name = "GOAL",
        value_delimiter = ',',
        default_value = "promoted",
        add = completion::goals()
    )]
    goals: Vec<Goal>,
    /// Count nothing before the spec asks for this image: where somebody else applies the manifest
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// How long, for example 10m or 1h30m
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    timeout: Duration,
}

#[derive(Args, Debug)]
struct PromoteArguments {
    #[command(flatten)]
    said: Said,
    /// Skip all steps that are left
    #[arg(long)]
    full: bool,
}

#[derive(Args, Debug)]
struct RollbackArguments {
    #[command(flatten)]
    said: Said,
    /// The revision to go back to: its name, or the end of it
    #[arg(long, value_name = "REVISION", add = completion::revisions())]
    to: Option<String>,
}

#[derive(Args, Debug)]
struct FreezeArguments {
    #[command(flatten)]
    said: Said,
    /// Why, for those who wonder
    #[arg(long, value_name = "WORDS", default_value = "a person said so", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

#[derive(Args, Debug)]
struct ExpediteArguments {
    #[command(flatten)]
    said: Said,
    /// A revision or an image. Default: the image of the spec
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new(), add = completion::revisions())]
    what: Option<String>,
}

#[derive(Debug, Subcommand)]
enum SetWhat {
    /// Change an image
    Image {
        #[command(flatten)]
        named: Named,
        /// The image; before it, with =, the container where it is not the main one
        #[arg(value_name = "[CONTAINER=]IMAGE")]
        change: ImageChange,
    },
}

/// The role of a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum WhichRole {
    /// The service rests on it.
    #[default]
    Stable,
    /// It is being tried out.
    Candidate,
}

#[derive(Args, Debug)]
struct HandOverArguments {
    #[command(flatten)]
    named: Named,
    /// Whose pods
    #[arg(long, value_enum, default_value_t)]
    role: WhichRole,
    /// For kubectl; the plugin's own come before
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    more: Vec<String>,
}

#[derive(Args, Debug)]
struct FileArguments {
    /// The file, with one or more Microservices and what they track; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
}

#[derive(Args, Debug)]
struct PlanArguments {
    #[command(flatten)]
    file: FileArguments,
    /// How it is printed
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// As it should.
    Done,
    /// Rolled back, degraded, or the operator had nothing that was meant.
    Refused,
    /// Nothing happened in time.
    TimedOut,
    /// It could not be asked or said.
    Failed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Refused => 1,
            Outcome::TimedOut => 2,
            Outcome::Failed => 3,
        })
    }
}

fn service_name(text: &str) -> Result<String, String> {
    let name = text
        .strip_prefix("msvc/")
        .or_else(|| text.strip_prefix("microservice/"))
        .unwrap_or(text);
    if is_service_name(name) {
        Ok(name.to_owned())
    } else {
        Err(
            "no service is called so: a name has lower-case letters, digits and -, and at most 45 of them"
                .to_owned(),
        )
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a time such as 90s, 10m or 1h30m".to_owned();
    let found: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(found).map_err(|_| wrong())
}

/// Says something on standard error.
fn note(line: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{}", printable(line));
}

/// All of the plugin.
pub fn main() -> ExitCode {
    completion::answer_shell();
    // Before the arguments are read, as these are another command's, unfinished.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == completion::COMMAND) {
        return finished(completion::answer_kubectl(words).map(|()| Outcome::Done));
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Not clap's own code, which is what says here that time ran out.
            let code = if error.use_stderr() {
                Outcome::Failed
            } else {
                Outcome::Done
            };
            let _ = error.print();
            return code.into();
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    finished(match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments)),
        Err(error) => Err(format!("the runtime cannot be started: {error}").into()),
    })
}

fn finished(ended: Result<Outcome, Trouble>) -> ExitCode {
    match ended {
        Ok(outcome) => outcome.into(),
        Err(Trouble(words)) => {
            note(&words);
            Outcome::Failed.into()
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Outcome, Trouble> {
    let look = terminal::look(arguments.color);
    // These need no cluster.
    match &arguments.request {
        Request::Render(file) => return render(file, &arguments.place),
        Request::Lint(file) => return offline::lint(&file.filename),
        Request::Simulate(asked) => return simulating::simulate(asked, look),
        Request::Import(asked) => return importing::run(&arguments.place, asked).await,
        Request::Completion { shell } => {
            terminal::write(&completion::script(*shell)?)?;
            return Ok(Outcome::Done);
        }
        _ => {}
    }
    let connection = arguments.place.connect().await?;
    let connection = &connection;
    match &arguments.request {
        Request::Status(asked) => status(connection, asked, look).await,
        Request::List(asked) => listed(connection, asked, look).await,
        Request::Why(asked) => {
            let service = connection.service(&asked.named.name).await?;
            let now = Timestamp::now();
            if let Some(format) = asked.output {
                return print_as(format, &why::explanation(&service, now));
            }
            terminal::write(&format!("{}\n", why::why(&service, now)))?;
            Ok(Outcome::Done)
        }
        Request::Wait(asked) => {
            let wait = Wait::new(asked.goals.clone(), asked.image.clone());
            watching::wait(connection, &asked.named.name, wait, asked.timeout).await
        }
        Request::Promote(asked) => {
            let verb = if asked.full {
                Verb::PromoteFull
            } else {
                Verb::Promote
            };
            say(connection, &asked.said, verb).await
        }
        Request::Abort(said) => say(connection, said, Verb::Abort).await,
        Request::Retry(said) => say(connection, said, Verb::Retry).await,
        Request::Pause(said) => say(connection, said, Verb::Pause).await,
        Request::Resume(said) => say(connection, said, Verb::Resume).await,
        Request::Restart(said) => say(connection, said, Verb::Restart).await,
        Request::Refresh(said) => say(connection, said, Verb::Refresh).await,
        Request::Rollback(asked) => say(connection, &asked.said, Verb::Rollback(asked.to.clone())).await,
        Request::Freeze(asked) => say(connection, &asked.said, Verb::Freeze(asked.reason.clone())).await,
        Request::Unfreeze(said) => say(connection, said, Verb::Unfreeze).await,
        Request::Expedite(asked) => say(connection, &asked.said, Verb::Expedite(asked.what.clone())).await,
        Request::Set(SetWhat::Image { named, change }) => image(connection, &named.name, change).await,
        Request::History(asked) => past(connection, asked, look).await,
        Request::Diff(asked) => offline::diff(connection, &asked.named.name, asked.output, look).await,
        Request::Logs(asked) => hand_over(connection, arguments, asked, Task::Logs).await,
        Request::Exec(asked) => hand_over(connection, arguments, asked, Task::Exec).await,
        Request::PortForward(asked) => hand_over(connection, arguments, asked, Task::PortForward).await,
        Request::Eject(asked) => ejecting::eject(connection, asked).await,
        Request::Plan(asked) => offline::plan(connection, &asked.file.filename, asked.output, look).await,
        Request::Render(_)
        | Request::Lint(_)
        | Request::Import(_)
        | Request::Simulate(_)
        | Request::Completion { .. } => Ok(Outcome::Done),
    }
}

fn render(file: &FileArguments, place: &Place) -> Result<Outcome, Trouble> {
    let arguments = RenderArguments {
        filename: file.filename.clone(),
        namespace: place.namespace.clone().unwrap_or_else(|| "default".to_owned()),
    };
    match crate::cli::render::render(&arguments) {
        Ok(rendered) => {
            rendered.remarks.iter().for_each(|remark| note(remark));
            terminal::write(&rendered.yaml)?;
            Ok(Outcome::Done)
        }
        Err(problems) => {
            problems.iter().for_each(|problem| note(problem));
            Ok(Outcome::Refused)
        }
    }
}

fn print_as<T: Serialize>(format: Format, object: &T) -> Result<Outcome, Trouble> {
    let broken = |error: &dyn std::error::Error| Trouble::from(format!("it cannot be printed: {error}"));
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(object).map_err(|error| broken(&error))?,
        Format::Json => serde_json::to_string_pretty(object).map_err(|error| broken(&error))? + "\n",
    };
    terminal::write(&text)?;
    Ok(Outcome::Done)
}

fn detail(output: Option<Output>) -> Detail {
    match output {
        Some(Output::Wide) => Detail::Wide,
        Some(Output::Json | Output::Yaml) | None => Detail::Usual,
    }
}

/// What is followed is drawn for people.
fn followable(output: Option<Output>) -> Result<(), Trouble> {
    match output {
        Some(Output::Json | Output::Yaml) => {
            Err("-w is for people: for JSON or YAML that follows use kubectl get msvc -w -o json".into())
        }
        Some(Output::Wide) | None => Ok(()),
    }
}

async fn status(connection: &Connection, asked: &StatusArguments, look: Look) -> Result<Outcome, Trouble> {
    let name = &asked.named.name;
    let detail = detail(asked.output);
    if asked.watch {
        followable(asked.output)?;
        return watching::status(connection, name, detail, look).await;
    }
    let service = connection.service(name).await?;
    if let Some(format) = asked.output.and_then(Output::format) {
        return print_as(format, &service);
    }
    let pods = watching::pods(connection, name).await;
    let scene = Scene {
        service: &service,
        pods: &pods,
        now: Timestamp::now(),
        detail,
    };
    terminal::write(&tree(&scene, look.signs).text(look))?;
    Ok(Outcome::Done)
}

async fn listed(connection: &Connection, asked: &ListArguments, look: Look) -> Result<Outcome, Trouble> {
    let reach = if asked.all_namespaces {
        Reach::All
    } else {
        Reach::One
    };
    if asked.watch {
        followable(asked.output)?;
        return watching::all(connection, reach, detail(asked.output), look).await;
    }
    let found = watching::services(connection, reach)
        .list(&ListParams::default())
        .await;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let asked = watching::asked_all(connection, reach, "list");
            return Err(connection.explained(&asked, &error).await);
        }
    };
    if let Some(format) = asked.output.and_then(Output::format) {
        return print_as(
            format,
            &json!({"apiVersion": "v1", "kind": "List", "items": found.items}),
        );
    }
    if found.items.is_empty() {
        let place = match reach {
            Reach::One => format!("namespace {}", connection.namespace),
            Reach::All => "this cluster".to_owned(),
        };
        note(&format!("there are no Microservices in {place}"));
        return Ok(Outcome::Done);
    }
    let page = list(&found.items, reach, detail(asked.output), Timestamp::now());
    terminal::write(&page.text(look))?;
    Ok(Outcome::Done)
}

async fn past(connection: &Connection, asked: &HistoryArguments, look: Look) -> Result<Outcome, Trouble> {
    let service = connection.service(&asked.named.name).await?;
    if let Some(format) = asked.output.and_then(Output::format) {
        let status = service.status.unwrap_or_default();
        return print_as(
            format,
            &json!({"history": status.history, "revisions": status.revisions}),
        );
    }
    let page = history::history(&service, Timestamp::now(), detail(asked.output));
    terminal::write(&page.text(look))?;
    Ok(Outcome::Done)
}

fn patching() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Writes an order, and waits for the operator's answer.
async fn put(
    connection: &Connection,
    name: &str,
    order: &Order,
    timeout: Duration,
) -> Result<Answer, Trouble> {
    let written = connection
        .services()
        .patch(name, &patching(), &Patch::Merge(order.patch()))
        .await
        .map_err(|error| connection.asked("patch", name).failed(&error))?;
    watching::answer(connection, name, order, &written, timeout).await
}

/// Says a command, and waits for what the operator says to it.
async fn say(connection: &Connection, said: &Said, verb: Verb) -> Result<Outcome, Trouble> {
    let name = &said.named.name;
    let service = connection.service(name).await?;
    let order = order(&service, &verb)?;
    let words = order.words();
    if let Some(withdrawal) = order.withdrawal(&service) {
        let answer = put(connection, name, &withdrawal, said.patience.timeout).await?;
        if !matches!(answer, Answer::Heard(_)) {
            note(&format!(
                "{name}: {words} was said before, and the operator has not seen yet that it was taken away to be said again"
            ));
            return Ok(Outcome::TimedOut);
        }
    }
    Ok(
        match put(connection, name, &order, said.patience.timeout).await? {
            Answer::Heard(message) => {
                terminal::write(&format!(
                    "{}\n",
                    printable(&format!("{name}: {words}: {message}"))
                ))?;
                Outcome::Done
            }
            Answer::Ignored(message) => {
                note(&format!(
                    "{name}: {words} was ignored, as something else goes on by now: {message}"
                ));
                Outcome::Refused
            }
            Answer::Awaited(message) => {
                note(&format!(
                    "{name}: {words} is written, and the operator has not acted on it yet, it counts as long as that goes on: {message}"
                ));
                Outcome::TimedOut
            }
        },
    )
}

async fn image(connection: &Connection, name: &str, change: &ImageChange) -> Result<Outcome, Trouble> {
    let service = connection.service(name).await?;
    let patch = set_image(&service, change)?;
    if patch.before == change.image {
        note(&format!("{name}: the image is {} already", patch.before));
        return Ok(Outcome::Done);
    }
    let operations = serde_json::from_value(patch.operations)
        .map_err(|error| Trouble::from(format!("the patch cannot be made: {error}")))?;
    connection
        .services()
        .patch(name, &patching(), &Patch::Json::<Microservice>(operations))
        .await
        .map_err(|error| connection.asked("patch", name).failed(&error))?;
    let words = format!(
        "{name}: image {} -> {}; kubectl microservice status {name} -w shows how it goes out",
        patch.before, change.image
    );
    terminal::write(&format!("{}\n", printable(&words)))?;
    Ok(Outcome::Done)
}

/// Becomes kubectl.
async fn hand_over(
    connection: &Connection,
    arguments: &Arguments,
    asked: &HandOverArguments,
    task: Task,
) -> Result<Outcome, Trouble> {
    let name = &asked.named.name;
    let role = match asked.role {
        WhichRole::Stable => Role::Stable,
        WhichRole::Candidate => Role::Candidate,
    };
    if task != Task::Logs && asked.more.is_empty() {
        let example = if task == Task::Exec { "-- sh" } else { "8080:http" };
        return Err(format!("kubectl needs to be told more, for example {example}").into());
    }
    let service = connection.service(name).await?;
    let revision = hand_over::revision(&service, role)?;
    let pods: Vec<PodLine> = match (task, watching::pods(connection, name).await) {
        (Task::Logs, _) => Vec::new(),
        (_, Pods::Known(pods)) => pods,
        (_, Pods::Unknown(why)) => return Err(why.into()),
    };
    let pod = match task {
        Task::Logs => None,
        Task::Exec | Task::PortForward => Some(hand_over::one_pod(&pods, &revision)?.name.as_str()),
    };
    let way = arguments.place.way(&connection.namespace);
    let words = hand_over::arguments(name, &revision, pod, task, &way, &asked.more);
    let kubectl = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
    let error = std::process::Command::new(&kubectl).args(words).exec();
    Err(format!(
        "{} cannot be run: {error}: install kubectl, or set KUBECTL",
        kubectl.display()
    )
    .into())
}
