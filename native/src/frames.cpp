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

// The weights that the lanes' counts name between two marks; what is always read is not among them.
uint64_t counted(const Capture& c, size_t from, size_t to) {
  uint64_t sum = 0;
  for (const LaneCapture& l : c.lanes) sum += l.bytes[to] - l.bytes[from];
  return sum;
}

void put_header(Writer& w, uint32_t magic, const Model& model, const Capture& c, const FrameHead& head, uint32_t block, uint32_t blocks) {
  const ModelSpec& m = model.spec;
  for (uint32_t v : {magic, head.sequence, head.position, (uint32_t)head.token, m.layers, m.ffn_width, m.heads, block, blocks, (uint32_t)c.audit}) w.put(v);
  const float read = (float)(model.always_bytes + counted(c, 0, m.layers + 1));
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
    w.put((float)(attention_bytes(l) + packed_bytes(l) + counted(c, i, i + 1)));
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

void encode_summary(const Model& model, const Capture& c, const FrameHead& head, std::vector<uint8_t>& out) {
  const BlockCounts& b = c.total;
  const size_t cells = b.peak.size();
  out.clear();
  out.reserve(kMostFrameBytes);
  Writer w{out};
  put_header(w, kSummaryMagic, model, c, head, 1u << c.shift, c.blocks);
  for (const auto* counts : {&b.named, &c.computed, &b.active}) w.put_all(counts->data(), cells);
  if (c.audit) w.put_all(b.missed.data(), cells);
  w.put_all(b.peak.data(), cells);
  w.put_all(c.head_flags.data(), c.head_flags.size());
  w.put_all(c.head_norms.data(), c.head_norms.size());
}

void encode_record(const Model& model, const Capture& c, const FrameHead& head, std::vector<uint8_t>& out) {
  const ModelSpec& m = model.spec;
  const size_t row = ((size_t)m.ffn_width + 1) / 2;
  out.clear();
  Writer w{out};
  put_header(w, kRecordMagic, model, c, head, 0, 0);
  const size_t states = out.size();
  out.resize(states + (m.layers * row + 3) / 4 * 4);
  size_t total = 0;
  for (const LayerNotes& n : c.layers) w.put(n.active), total += n.active;
  size_t values = out.size(), gates = values + total * sizeof(float);
  out.resize(gates + total * sizeof(float));
  // The lanes' neurons follow each other, as they do within a lane.
  for (uint32_t i = 0; i < m.layers; i++) {
    uint8_t* to = out.data() + states + i * row;
    const auto mark = [&](uint32_t n, unsigned state) { to[n / 2] = (uint8_t)(to[n / 2] | state << (n % 2 * 4)); };
    for (const LaneCapture& l : c.lanes) {
      for (uint32_t n : l.named.of(i)) mark(n, kNamed);
      for (uint32_t n : l.missed.of(i)) mark(n, kMissed);
      for (uint32_t n : l.idle.of(i)) mark(n, kComputed);
      const std::span<const uint32_t> active = l.active.of(i);
      for (uint32_t n : active) mark(n, kComputed | kActive);
      std::memcpy(out.data() + values, l.value.data() + l.active.begin[i], active.size_bytes());
      std::memcpy(out.data() + gates, l.gate.data() + l.active.begin[i], active.size_bytes());
      values += active.size_bytes(), gates += active.size_bytes();
    }
  }
  w.put_all(c.head_flags.data(), c.head_flags.size());
  w.put_all(c.head_norms.data(), c.head_norms.size());
}

}  // namespace hunch
