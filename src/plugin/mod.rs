//! What the kubectl plugin says and asks, as functions over data: no client, no clock, no terminal. The shell around it is
//! `cli::plugin`.

pub mod advice;
pub mod command;
pub mod difference;
pub mod eject;
pub mod goal;
pub mod hand_over;
pub mod history;
pub mod image;
pub mod import;
pub mod list;
pub mod page;
pub mod pods;
pub mod reading;
pub mod timeline;
pub mod tree;
pub mod why;
