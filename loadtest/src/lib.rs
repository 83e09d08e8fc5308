//! What the demo and the load tests feed the pipeline with: a made-up news site and a made-up
//! feed of trades. Both are the same again for the same arguments.

pub mod feed;
pub mod news;
