//! What people are told, and in which words: from a [`Notice`] to the request that each platform wants, and from its
//! answer to what became of it. Pure: nothing is sent here.
//!
//! ```text
//! Notice, template -> Markup of the platform -> body -> Request        status, body of the answer -> Answer
//! ```

mod alertmanager;
mod answer;
mod channel;
mod chat;
mod cloud_event;
mod markup;
mod notice;
mod sign;
mod template;

pub use answer::{Answer, answer};
pub use channel::{Channel, ChannelKind, Credential, Credentials, Repetition, Request, Unsendable, request};
pub use notice::Notice;
pub use sign::{ding_talk_signature, feishu_signature};
pub use template::Template;
