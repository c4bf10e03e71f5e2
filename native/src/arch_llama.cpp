// llama (Touvron 2023): also Mistral and SmolLM, whose GGUF files carry the same tensors and the same architecture name.
#include "model.h"

namespace hunch {

Status plan_llama(const TensorFile& file, Model& model, Loader& loader) {
  const ModelSpec& s = model.spec;
  loader.matrix("token_embd.weight", s.width, s.vocabulary, model.embedding);
  loader.vector("output_norm.weight", s.width, model.output_norm);
  for (uint32_t l = 0; l < s.layers; l++) {
    const std::string blk = "blk." + std::to_string(l) + ".";
    Layer& layer = model.layers[l];
    loader.vector(blk + "attn_norm.weight", s.width, layer.attention_norm);
    loader.matrix(blk + "attn_q.weight", s.width, s.heads * s.head_width, layer.q);
    loader.matrix(blk + "attn_k.weight", s.width, s.kv_heads * s.head_width, layer.k);
    loader.matrix(blk + "attn_v.weight", s.width, s.kv_heads * s.head_width, layer.v);
    loader.matrix(blk + "attn_output.weight", s.heads * s.head_width, s.width, layer.o);
    loader.vector(blk + "ffn_norm.weight", s.width, layer.ffn_norm);
    loader.matrix(blk + "ffn_gate.weight", s.width, s.ffn_width, layer.gate);
    loader.matrix(blk + "ffn_up.weight", s.width, s.ffn_width, layer.up);
    loader.matrix(blk + "ffn_down.weight", s.ffn_width, s.width, layer.down);
  }
  if (file.find("output.weight")) loader.matrix("output.weight", s.width, s.vocabulary, model.output);
  return Status::fine();
}

}  // namespace hunch
