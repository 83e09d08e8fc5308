//! `crawl`: a clock's event in, new pages of the configured sources out. A page is offered
//! again under the event that first found it until a later event shows that it arrived, so no
//! crash loses one and none is offered under two events.

pub mod charset;
pub mod config;
pub mod context;
pub mod fetch;
pub mod handler;
pub mod memory;
pub mod page;
pub mod source;
