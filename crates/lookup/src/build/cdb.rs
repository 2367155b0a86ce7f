//! Writes constant databases: records in the order of the source, then the hash tables (spec tables 5.2).

use super::Entries;
use crate::indexed::cdb::hash;

const HEADER: usize = 2048;

/// The bytes of the file; an error is a text.
pub(super) fn image(entries: &Entries) -> Result<Vec<u8>, String> {
    let mut out = vec![0; HEADER];
    let mut tables: Vec<Vec<(u32, u32)>> = vec![Vec::new(); 256];
    for (key, value) in entries.iter() {
        let hash = hash(key);
        let at = place(&out)?;
        tables[(hash & 255) as usize].push((hash, at));
        for part in [key, value] {
            out.extend_from_slice(&u32::try_from(part.len()).map_err(|_| TOO_BIG)?.to_le_bytes());
        }
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
    for (number, records) in tables.iter().enumerate() {
        let slots = records.len() * 2;
        let mut table = vec![(0, 0); slots];
        for (hash, at) in records {
            let mut slot = (hash >> 8) as usize % slots;
            while table[slot].1 != 0 {
                slot = (slot + 1) % slots;
            }
            table[slot] = (*hash, *at);
        }
        let at = place(&out)?;
        out[number * 8..number * 8 + 4].copy_from_slice(&at.to_le_bytes());
        let count = u32::try_from(slots).map_err(|_| TOO_BIG)?;
        out[number * 8 + 4..number * 8 + 8].copy_from_slice(&count.to_le_bytes());
        for (hash, at) in table {
            out.extend_from_slice(&hash.to_le_bytes());
            out.extend_from_slice(&at.to_le_bytes());
        }
    }
    place(&out)?;
    Ok(out)
}

const TOO_BIG: &str = "File too large";

fn place(out: &[u8]) -> Result<u32, String> {
    u32::try_from(out.len()).map_err(|_| TOO_BIG.to_owned())
}
