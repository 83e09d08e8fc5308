//! A small made-up news site: articles in six layouts, listings, and what real sites have
//! besides — copies, redirects, broken pages, pages that are not pages. Articles may appear
//! one after another, as news does.

mod article;
mod layout;
mod server;

pub use article::{Article, articles};
pub use server::{Release, router};
