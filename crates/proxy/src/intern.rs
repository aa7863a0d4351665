//! Route tables shared between the proxies of one process: a thousand sidecars that were told the same routes
//! compile and keep them once.

use amime_model::config::RouteConfig;
use amime_model::route::{CompileError, RouteTable};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// By the address of the configuration, which a table keeps alive: an entry whose table is gone may have an
/// address that was given to another one, so its configuration is compared too.
static TABLES: LazyLock<Mutex<HashMap<usize, Weak<RouteTable>>>> = LazyLock::new(Mutex::default);

/// The table of a configuration; compiled unless another proxy has it. What did not change since `previous` is taken
/// over from it.
pub(crate) fn table(config: &Arc<RouteConfig>, previous: Option<&RouteTable>) -> Result<Arc<RouteTable>, CompileError> {
    let key = Arc::as_ptr(config).addr();
    let lock = || TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(table) = lock().get(&key).and_then(Weak::upgrade)
        && Arc::ptr_eq(table.config(), config)
    {
        return Ok(table);
    }
    // Compiled without the lock: others need not wait. Two that compile the same one at once are rare.
    let table = Arc::new(RouteTable::compile_after(Arc::clone(config), previous)?);
    let mut tables = lock();
    if tables.len() >= 64 && tables.len().is_power_of_two() {
        tables.retain(|_, table| table.strong_count() > 0);
    }
    tables.insert(key, Arc::downgrade(&table));
    Ok(table)
}
