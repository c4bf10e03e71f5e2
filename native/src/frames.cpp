#include "frames.h"

#include <bit>
#include <cstring>

namespace hunch {
namespace {

constexpr uint32_t kSummaryMagic = 0x31464e48, kRecordMagic = 0x31524e48;  // 'HNF1', 'HNR1'
constexpr size_t kHeaderBytes = 64, kLayerBytes = 40;
static_assert(std::endian::native == std::endian::little, "frames are written as they lie in memory");

// Appends; sections begin at multiples of 4 bytes.
struct Writer {
  std::vector<uint8_t>& out;
  template <class T>
  void put(T value) {
    const size_t at = out.size();
    out.resize(at + sizeof(T));
    std::memcpy(out.data() + at, &value, sizeof(T));
  }
  template <class T>
  void put_all(const T* values, size_t n) {
    const size_t at = out.size(), bytes = n * sizeof(T);
    out.resize(at + (bytes + 3) / 4 * 4);
    std::memcpy(out.data() + at, values, bytes);
  }
};

uint64_t attention_bytes(const Layer& l) { return l.q.bytes() + l.k.bytes() + l.v.bytes() + l.o.bytes(); }
uint64_t packed_bytes(const Layer& l) { return l.up.present() ? l.gate.bytes() + l.up.bytes() + l.down.bytes() : 0; }

// The weights that lane's counts name between two marks; what is always read is not among them.
uint64_t counted(const Capture& c, size_t layers, unsigned lanes, size_t from, size_t to) {
  uint64_t sum = 0;
  for (unsigned l = 0; l < lanes; l++) sum += c.bytes[l * (layers + 2) + to] - c.bytes[l * (layers + 2) + from];
  return sum;
}

void put_header(Writer& w, uint32_t magic, const Model& model, const Capture& c, unsigned lanes, const FrameHead& head, uint32_t block, uint32_t blocks) {
  const ModelSpec& m = model.spec;
  for (uint32_t v : {magic, head.sequence, head.position, (uint32_t)head.token, m.layers, m.ffn_width, m.heads, block, blocks, (uint32_t)c.audit}) w.put(v);
  const float read = (float)(model.always_bytes + counted(c, m.layers, lanes, 0, m.layers + 1));
  for (float v : {c.microseconds, read, (float)model.weight_bytes_per_token, c.predictor_microseconds}) w.put(v);
  w.put((uint32_t)m.activation);
  w.put(0u);
  for (uint32_t i = 0; i < m.layers; i++) {
    const Layer& l = model.layers[i];
    const LayerNotes& n = c.layers[i];
    uint16_t heads = 0;
    for (uint32_t h = 0; h < m.heads; h++) heads += (c.head_flags[(size_t)i * m.heads + h] & kHeadComputed) != 0;
    w.put((uint8_t)n.route);
    w.put((uint8_t)((n.heads_predicted ? 1 : 0) | (n.names ? 2 : 0) | (n.gates_known ? 4 : 0)));
    w.put(heads);
    w.put(n.microseconds);
    w.put((float)(attention_bytes(l) + packed_bytes(l) + counted(c, m.layers, lanes, i, i + 1)));
    w.put((float)(attention_bytes(l) + (l.up.present() ? packed_bytes(l) : l.rows.bytes())));
    for (uint32_t v : {n.named, n.computed, n.active, n.missed}) w.put(v);
    w.put(n.gate_threshold);
    w.put(n.score_threshold);
  }
}

size_t summary_bytes(const ModelSpec& m, uint32_t block) {
  const size_t cells = (size_t)m.layers * ((m.ffn_width + block - 1) / block), heads = (size_t)m.layers * m.heads;
  return kHeaderBytes + m.layers * kLayerBytes + 4 * ((cells * sizeof(uint16_t) + 3) / 4 * 4) + cells * sizeof(float) + (heads + 3) / 4 * 4 + heads * sizeof(float);
}

}  // namespace

uint32_t summary_block(const ModelSpec& m) {
  uint32_t block = 16;
  while (block < m.ffn_width && summary_bytes(m, block) > kMostFrameBytes) block *= 2;
  return block;
}

void encode_summary(const Model& model, const Capture& c, unsigned lanes, const FrameHead& head, std::vector<uint8_t>& out) {
  const size_t cells = c.named.size();
  out.clear();
  Writer w{out};
  put_header(w, kSummaryMagic, model, c, lanes, head, c.block, c.blocks);
  for (const auto* counts : {&c.named, &c.computed, &c.active}) w.put_all(counts->data(), cells);
  if (c.audit) w.put_all(c.missed.data(), cells);
  w.put_all(c.peak.data(), cells);
  w.put_all(c.head_flags.data(), c.head_flags.size());
  w.put_all(c.head_norms.data(), c.head_norms.size());
}

void encode_record(const Model& model, const Capture& c, unsigned lanes, const FrameHead& head, std::vector<uint8_t>& out) {
  const ModelSpec& m = model.spec;
  const size_t row = ((size_t)m.ffn_width + 1) / 2;
  out.clear();
  Writer w{out};
  put_header(w, kRecordMagic, model, c, lanes, head, 0, 0);
  const size_t states = out.size();
  out.resize(states + (m.layers * row + 3) / 4 * 4);
  for (uint32_t i = 0; i < m.layers; i++) {
    const uint8_t* from = c.states.data() + (size_t)i * m.ffn_width;
    uint8_t* to = out.data() + states + i * row;
    for (uint32_t n = 0; n + 1 < m.ffn_width; n += 2) to[n / 2] = (uint8_t)(from[n] | from[n + 1] << 4);
    if (m.ffn_width % 2) to[row - 1] = from[m.ffn_width - 1];
  }
  size_t total = 0;
  for (const LayerNotes& n : c.layers) w.put(n.active), total += n.active;
  const size_t values = out.size(), gates = values + total * sizeof(float);
  out.resize(gates + total * sizeof(float));
  size_t at = 0;
  // A bit for each of 16 neurons, then only the active ones are visited.
  const auto keep = [&](size_t n) {
    std::memcpy(out.data() + values + at * sizeof(float), &c.values[n], sizeof(float));
    std::memcpy(out.data() + gates + at * sizeof(float), &c.gates[n], sizeof(float));
    at++;
  };
  for (size_t n = 0; n < c.states.size();) {
    if (n + 8 > c.states.size()) {
      if (c.states[n] & kActive) keep(n);
      n++;
      continue;
    }
    uint64_t eight;
    std::memcpy(&eight, &c.states[n], 8);
    for (uint64_t left = eight & 0x0404040404040404; left; left &= left - 1) keep(n + (size_t)std::countr_zero(left) / 8);
    n += 8;
  }
  w.put_all(c.head_flags.data(), c.head_flags.size());
  w.put_all(c.head_norms.data(), c.head_norms.size());
}

}  // namespace hunch
