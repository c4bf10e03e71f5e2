#include "placement.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace hunch::cuda {

namespace {

struct Item {
  uint32_t layer, neuron;
  double moved;
};

struct Tried {
  double seconds = 0;
  std::vector<std::vector<uint8_t>> hot;  // [layers][neurons]
};

}  // namespace

void place_neurons(const std::vector<LayerCost>& layers, uint32_t first, uint64_t budget, const Speeds& speeds, Placement& out) {
  const uint32_t n = (uint32_t)layers.size();
  std::vector<double> all(n, 0.0);  // W
  std::vector<Item> items;
  for (uint32_t l = first; l < n; l++)
    for (uint32_t i = 0; i < layers[l].frequency.size(); i++) {
      items.push_back({l, i, layers[l].always + layers[l].often * layers[l].frequency[i]});
      all[l] += items.back().moved;
    }
  // Equal neurons in their order, layer after layer: the result never varies.
  std::stable_sort(items.begin(), items.end(), [&](const Item& a, const Item& b) {
    return a.moved * (double)layers[b.layer].neuron_bytes > b.moved * (double)layers[a.layer].neuron_bytes;
  });
  std::vector<uint32_t> heaviest(n - std::min(first, n));
  std::iota(heaviest.begin(), heaviest.end(), first);
  std::stable_sort(heaviest.begin(), heaviest.end(), [&](uint32_t a, uint32_t b) { return all[a] > all[b]; });

  const double even = 1 / speeds.gpu + 1 / speeds.cpu;
  const auto balance = [&](uint32_t l, double handshake) { return std::min(all[l], (handshake + all[l] / speeds.cpu) / even); };  // s*
  constexpr double kRounding = 1 + 1e-9;

  // The optimum of neurons that may be cut, without handshakes.
  std::vector<double> cut(n, 0.0);
  double room_cut = (double)budget;
  for (const Item& i : items) {
    const double bytes = (double)layers[i.layer].neuron_bytes;
    const double take = std::min({i.moved, balance(i.layer, 0) - cut[i.layer], bytes > 0 ? i.moved * room_cut / bytes : i.moved});
    if (take > 0) cut[i.layer] += take, room_cut -= bytes * take / i.moved;
  }
  out.least = 0;
  for (uint32_t l = first; l < n; l++) out.least += std::max(cut[l] / speeds.gpu, (all[l] - cut[l]) / speeds.cpu);

  const auto fill = [&](uint32_t whole, Tried& t) {
    uint64_t room = budget;
    std::vector<uint8_t> closed(n, 0);
    std::vector<double> hot(n, 0.0);  // s
    t.hot.assign(n, {});
    for (uint32_t l = first; l < n; l++) t.hot[l].assign(layers[l].frequency.size(), 0);
    for (uint32_t k = 0; k < whole; k++) {
      const uint32_t l = heaviest[k];
      const uint64_t bytes = layers[l].neuron_bytes * layers[l].frequency.size();
      if (bytes > room) return false;
      room -= bytes;
      closed[l] = 1, hot[l] = all[l];
      std::fill(t.hot[l].begin(), t.hot[l].end(), 1);
    }
    for (const Item& i : items) {
      if (closed[i.layer] || layers[i.layer].neuron_bytes > room) continue;
      if (hot[i.layer] + i.moved > balance(i.layer, speeds.handshake) * kRounding) {
        closed[i.layer] = 1;
        continue;
      }
      hot[i.layer] += i.moved;
      room -= layers[i.layer].neuron_bytes;
      t.hot[i.layer][i.neuron] = 1;
    }
    t.seconds = 0;
    for (uint32_t l = first; l < n; l++) {
      const bool filled = std::find(t.hot[l].begin(), t.hot[l].end(), 0) == t.hot[l].end();
      t.seconds += filled ? all[l] / speeds.gpu : std::max(hot[l] / speeds.gpu, speeds.handshake + (all[l] - hot[l]) / speeds.cpu);
    }
    return true;
  };

  Tried best;
  best.seconds = std::numeric_limits<double>::infinity();
  for (uint32_t whole = 0; whole <= heaviest.size(); whole++) {
    Tried t;
    if (!fill(whole, t)) break;
    if (t.seconds < best.seconds) best = std::move(t);
  }
  out.by_neuron = true;
  out.hot.assign(n, {});
  out.seconds = best.seconds;
  for (uint32_t l = first; l < n; l++)
    for (uint32_t i = 0; i < best.hot[l].size(); i++)
      if (best.hot[l][i]) out.hot[l].push_back(i);
}

}  // namespace hunch::cuda
