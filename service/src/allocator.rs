//! The allocator of every long-lived process.
//!
//! jemalloc gives memory back after a peak and shares little between threads; librdkafka uses it
//! too. With the C library's own the operator was a quarter larger after a burst of resources.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;
