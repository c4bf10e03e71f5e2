"""SmolLM2's tokenizer rebuilt from the GGUF's own vocabulary (byte-level BPE, digits split one by one)."""
import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

CONTROL = 3  # token_type of special tokens in GGUF


def load(gguf_path):
    """gguf_path: any SmolLM2 GGUF. Returns a `tokenizers.Tokenizer` with the same ids as llama.cpp's."""
    fields = gguf.GGUFReader(gguf_path).fields
    tokens = fields['tokenizer.ggml.tokens'].contents()
    merges = [tuple(m.split(' ')) for m in fields['tokenizer.ggml.merges'].contents()]
    kinds = fields['tokenizer.ggml.token_type'].contents()
    t = Tokenizer(models.BPE({s: i for i, s in enumerate(tokens)}, merges, ignore_merges=False))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(tokens[i], normalized=False, special=True) for i, k in enumerate(kinds) if k == CONTROL])
    return t
