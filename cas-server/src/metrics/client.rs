//! Who uses the server: which tool, for whom.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use super::tool::Tools;
use super::{Tallied, Tally, Tool};

/// How many pairs of tool and identity are told apart. In a house there are fewer; where each job of a CI system has an identity
/// of its own, the first that came stand for themselves, and the rest together.
pub const IDENTITIES_MAX: usize = 256;

/// What stands for every identity beyond that, and for whoever was refused.
const OTHERS: &str = "other";

/// Which tool, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// The tool.
    pub tool: Tool,
    /// The name of the caller.
    pub identity: Arc<str>,
}

/// Who uses the server. Finding somebody takes no lock; somebody new replaces the whole table.
#[derive(Debug)]
pub struct Clients {
    tools: Tools,
    table: ArcSwap<BTreeMap<Client, Arc<Tally>>>,
    changing: Mutex<()>,
    others: Arc<str>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            tools: Tools::new(),
            table: ArcSwap::default(),
            changing: Mutex::default(),
            others: OTHERS.into(),
        }
    }
}

impl Clients {
    /// Returns what is counted for that tool and that identity.
    pub fn of(&self, tool: &str, identity: &Arc<str>) -> Arc<Tally> {
        let client = Client { tool: self.tools.named(tool), identity: Arc::clone(identity) };
        self.found(&client).unwrap_or_else(|| self.add(client))
    }

    /// Returns what is counted for whoever was refused. No name that he says of himself is kept.
    pub fn refused(&self, tool: &str) -> Arc<Tally> {
        let client = Client { tool: self.tools.known(tool), identity: Arc::clone(&self.others) };
        self.found(&client).unwrap_or_else(|| self.add(client))
    }

    /// Returns everybody, with what he has done.
    pub fn read(&self) -> Vec<(String, Arc<str>, Tallied)> {
        let table = self.table.load();
        let rows = table.iter();
        rows.map(|(it, tally)| {
            (self.name(it.tool).to_owned(), Arc::clone(&it.identity), tally.read())
        })
        .collect()
    }

    /// Returns what all have done together.
    pub fn total(&self) -> Tallied {
        let mut total = Tallied::default();
        self.table.load().values().for_each(|tally| total += tally.read());
        total
    }

    /// Returns what is counted, by the names of tools.
    pub(super) fn by_tool(&self) -> BTreeMap<String, Vec<Arc<Tally>>> {
        let mut tools: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (client, tally) in self.table.load().iter() {
            tools.entry(self.name(client.tool).to_owned()).or_default().push(Arc::clone(tally));
        }
        tools
    }

    /// Returns the name of a tool.
    pub fn name(&self, tool: Tool) -> &str {
        self.tools.name(tool)
    }

    fn found(&self, client: &Client) -> Option<Arc<Tally>> {
        self.table.load().get(client).cloned()
    }

    fn add(&self, mut client: Client) -> Arc<Tally> {
        let _changing = self.changing.lock().expect("no holder panics");
        let table = self.table.load_full();
        if table.len() >= IDENTITIES_MAX {
            client.identity = Arc::clone(&self.others);
        }
        if let Some(tally) = table.get(&client) {
            return Arc::clone(tally);
        }
        let tally = Arc::new(Tally::new());
        let mut table = BTreeMap::clone(&table);
        table.insert(client, Arc::clone(&tally));
        self.table.store(Arc::new(table));
        tally
    }
}
