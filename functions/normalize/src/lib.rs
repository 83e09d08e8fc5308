//! `normalize`: crawled pages in, articles out. Every input is answered as an article, a
//! dropped duplicate or a failure with its reason, and an article is archived before it is
//! answered.

pub mod archive;
pub mod claims;
pub mod context;
pub mod extract;
pub mod handler;
pub mod html;
pub mod page;
pub mod published;
