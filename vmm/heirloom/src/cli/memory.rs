// SPDX-License-Identifier: Apache-2.0
//! The value of `--memory`.

use api::{MemoryConfig, parse_size};

use super::options::Options;

/// Parses `4G` or `4G,hugepages=on,...`.
pub fn parse(text: &str) -> Result<MemoryConfig, String> {
    let (size, rest) = text.split_once(',').map_or((text, None), |(size, rest)| (size, Some(rest)));
    let mut memory = MemoryConfig { size: parse_size(size).map_err(|e| e.to_string())?, ..MemoryConfig::default() };
    let Some(rest) = rest else { return Ok(memory) };
    let mut options = Options::parse(rest)?;
    memory.hugepages = options.switch("hugepages")?;
    memory.hugepage_size = options.parsed("hugepage_size", |text| parse_size(text).map_err(|e| e.to_string()))?;
    memory.prefault = options.switch("prefault")?;
    memory.shared = options.switch("shared")?;
    options.finish()?;
    Ok(memory)
}
