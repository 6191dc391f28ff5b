//! Texts to ids of a vocabulary, as in the folder of a published tokenizer.

use serde_json::Value;
use std::path::Path;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, NFC, Replace, replace::ReplacePattern};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

/// What a text is cut into before its bytes are paired: the special tokens, contractions, words, digits, and what is left
/// between blanks (transformers, `CLIPTokenizer`).
const CLIP_PIECES: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// A tokenizer that fills texts up to one length.
pub(super) struct Padded {
    tokenizer: Tokenizer,
    length: usize,
    pad: i64,
}

impl Padded {
    /// From `tokenizer.json`, or from `vocab.json` and `merges.txt` with the rules of CLIP; `tokenizer_config.json` says what
    /// stands behind a text. Fails with a sentence, also where the tokenizer does not make `length` ids below `vocabulary`.
    pub fn open(folder: &Path, length: usize, vocabulary: usize) -> Result<Self, String> {
        let settings = Settings::read(folder)?;
        let whole = folder.join("tokenizer.json");
        let mut tokenizer = if whole.is_file() {
            Tokenizer::from_file(&whole).map_err(|error| format!("tokenizer.json: {error}"))?
        } else {
            clip(folder, &settings)?
        };
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        let size = tokenizer.get_vocab_size(true);
        if size > vocabulary {
            return Err(format!("its vocabulary has {size} entries, the pipeline takes ids below {vocabulary}"));
        }
        if let Some(longest) = settings.longest().filter(|longest| *longest < length) {
            return Err(format!("it makes {longest} ids of a text, the pipeline takes {length}"));
        }
        let pad = settings.word("pad_token").unwrap_or_else(|| settings.end());
        let id =
            tokenizer.token_to_id(&pad).ok_or_else(|| format!("its vocabulary has no `{pad}` to fill texts with"))?;
        Ok(Self { tokenizer, length, pad: i64::from(id) })
    }

    /// The ids of a text. It is not cut: one that is too long is an error.
    pub fn ids(&self, text: &str) -> Result<Vec<i64>, String> {
        let encoding = self.tokenizer.encode(text, true).map_err(|error| error.to_string())?;
        let mut ids: Vec<i64> = encoding.get_ids().iter().map(|id| i64::from(*id)).collect();
        if ids.len() > self.length {
            let (count, length) = (ids.len(), self.length);
            return Err(format!("the text has {count} tokens, its start and end among them, and {length} is the most"));
        }
        ids.resize(self.length, self.pad);
        Ok(ids)
    }
}

/// Pairs of bytes as in openai/CLIP.
fn clip(folder: &Path, settings: &Settings) -> Result<Tokenizer, String> {
    let explain = |error: tokenizers::Error| error.to_string();
    let path = |name: &str| match folder.join(name) {
        path if path.is_file() => Ok(path.to_string_lossy().into_owned()),
        _ => Err(format!("there is no `{name}`, and no `tokenizer.json`")),
    };
    let (start, end) = (settings.start(), settings.end());
    let unknown = settings.word("unk_token").unwrap_or_else(|| end.clone());
    let model = BPE::from_file(&path("vocab.json")?, &path("merges.txt")?)
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix("</w>".to_owned())
        .unk_token(unknown.clone())
        .build()
        .map_err(|error| format!("vocab.json and merges.txt: {error}"))?;
    let mut tokenizer = Tokenizer::new(model);
    let blanks = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(explain)?;
    let normalizers: Vec<NormalizerWrapper> = vec![NFC.into(), blanks.into(), Lowercase.into()];
    tokenizer.with_normalizer(Some(tokenizers::normalizers::Sequence::new(normalizers)));
    let pieces = SplitPattern::Regex(CLIP_PIECES.to_owned());
    let pieces = Split::new(pieces, SplitDelimiterBehavior::Removed, true).map_err(explain)?;
    let cuts: Vec<PreTokenizerWrapper> = vec![pieces.into(), ByteLevel::default().add_prefix_space(false).into()];
    tokenizer.with_pre_tokenizer(Some(tokenizers::pre_tokenizers::sequence::Sequence::new(cuts)));
    let pad = settings.word("pad_token");
    let special = [Some(start.clone()), Some(end.clone()), Some(unknown), pad];
    let special: Vec<AddedToken> = special.into_iter().flatten().map(|token| AddedToken::from(token, true)).collect();
    tokenizer.add_special_tokens(&special);
    let id = |token: String| match tokenizer.token_to_id(&token) {
        Some(id) => Ok((token, id)),
        None => Err(format!("its vocabulary has no `{token}`")),
    };
    let around = RobertaProcessing::new(id(end)?, id(start)?).trim_offsets(false).add_prefix_space(false);
    tokenizer.with_post_processor(Some(around));
    Ok(tokenizer)
}

/// `tokenizer_config.json`, and `special_tokens_map.json` of older folders behind it.
struct Settings(Vec<Value>);

impl Settings {
    fn read(folder: &Path) -> Result<Self, String> {
        let mut found = vec![];
        for name in ["tokenizer_config.json", "special_tokens_map.json"] {
            let path = folder.join(name);
            if path.is_file() {
                let text = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
                found.push(serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?);
            }
        }
        Ok(Self(found))
    }

    /// A token, by itself or with how it is matched.
    fn word(&self, key: &str) -> Option<String> {
        let mut values = self.0.iter().filter_map(|own| own.get(key));
        values.find_map(|value| value.as_str().or_else(|| value.get("content")?.as_str())).map(str::to_owned)
    }

    fn start(&self) -> String {
        self.word("bos_token").unwrap_or_else(|| "<|startoftext|>".to_owned())
    }

    fn end(&self) -> String {
        self.word("eos_token").unwrap_or_else(|| "<|endoftext|>".to_owned())
    }

    /// The most ids of a text; those that say a number beyond all use have no such limit.
    fn longest(&self) -> Option<usize> {
        let longest = self.0.iter().find_map(|own| own.get("model_max_length")?.as_u64());
        longest.and_then(|longest| usize::try_from(longest).ok())
    }
}
