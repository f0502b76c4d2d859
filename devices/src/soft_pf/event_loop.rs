// SPDX-License-Identifier: Apache-2.0
//! The event loop that the thread of one function runs.

use std::sync::{Arc, Mutex};

use event_manager::{EventManager, MutEventSubscriber, RemoteEndpoint};

/// What waits for events.
pub(super) type Subscriber = Arc<Mutex<dyn MutEventSubscriber + Send>>;
/// The event loop of one function.
pub(super) type Loop = EventManager<Subscriber>;
/// Reaches the event loop from other threads.
pub(super) type Endpoint = RemoteEndpoint<Subscriber>;
