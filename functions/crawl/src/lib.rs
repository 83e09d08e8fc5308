//! `crawl`: a clock's event in, new pages of the configured sources out. A page is offered again
//! under the event that first found it while that event is retried, and once more under the next
//! if it is in doubt whether it arrived: no failed answer loses one.

pub mod charset;
pub mod config;
pub mod context;
pub mod fetch;
pub mod handler;
pub mod memory;
pub mod page;
pub mod source;
