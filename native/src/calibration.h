// What a Calibration holds: sums, histograms and samples of what a model's layers saw, and the predictors being fitted to them.
#pragma once

#include <mutex>

#include "engine_impl.h"
#include "fine_tuner.h"
#include "samples.h"

namespace hunch {

constexpr uint32_t kRun = 32;  // consecutive tokens that stay together among the samples

// Over tokens, of one layer.
struct LayerSums {
  GramSum mlp, attention;                         // the inputs; width 0 where nothing reads them
  std::vector<float> by_previous, by_attention;   // [width][width] this MLP's input times the one named (both counted from their shifts)
  std::vector<double> gate, gate_square;          // [neurons]
  std::vector<uint64_t> active;                   // [neurons] tokens in which each is not zero
  std::vector<uint64_t> count;                    // [256] by magnitude code
  std::vector<double> mass;                       // [256] sums of |act(gate)|
  std::vector<float> heads_by_input;              // [heads][width] relative norms times the predictor's input
  std::vector<double> head, head_square;          // [heads]
  std::vector<uint64_t> head_count;               // [256] relative norms by magnitude code
};

// All that save() keeps.
struct CalibrationState {
  std::vector<PredictorSource> sources;
  bool heads = false;
  uint64_t tokens = 0, runs = 0;
  std::vector<LayerSums> layers;
  Samples samples, held_out;
  // The fit under way: fine-tuning goes on while these stay the same.
  FitOptions fit;
  uint64_t fit_tokens = 0;        // captured when it last went on
  std::vector<FineTuner> tuners;  // empty, or one a layer
  Predictors fitted;
  std::vector<GateThreshold> gates;  // that `fitted` calls active

  void shape(const ModelSpec& m, const CalibrationOptions& options);
  bool reads(PredictorSource source) const;
  bool keeps_attention(uint32_t layer) const;  // inputs among the samples
  bool keeps_mlp(uint32_t layer, uint32_t layers) const;
  void save(StateWriter& to) const;
  bool restore(StateReader& from, const ModelSpec& m);
};

struct Calibration::Impl {
  Impl(std::shared_ptr<Engine> owner, Engine::Impl& e, const CalibrationOptions& o) : keep(std::move(owner)), engine(e), options(o), la(linear_algebra()) {}
  std::shared_ptr<Engine> keep;
  Engine::Impl& engine;
  const CalibrationOptions options;
  const LinearAlgebra& la;
  unsigned threads = 1;
  mutable std::mutex mutex;  // one call at a time
  KvCache kv;
  Scratch scratch;
  Tap tap;
  uint32_t batch = 1;  // tokens a pass
  Plan plan;           // all gates are computed
  CalibrationState state;

  const ModelSpec& spec() const { return engine.model.spec; }
  uint64_t fingerprint() const;

  // Capturing.
  Status add_batch(uint32_t first, uint32_t tokens);
  void add_layer(uint32_t layer, uint32_t first, uint32_t tokens, std::vector<SampleRun>& runs);

  // Fitting.
  PredictorSource source_of(uint32_t layer, PredictorSource wanted) const { return layer == 0 && wanted == PredictorSource::previous ? PredictorSource::attention : wanted; }
  const GramSum& input_sums(uint32_t layer, PredictorSource source) const;
  Status gate_rows(uint32_t layer, std::vector<float>& out) const;  // [neurons][width]
  Status moments(uint32_t layer, PredictorSource source, Moments& out) const;
  Moments head_moments(uint32_t layer) const;
  GateThreshold gate_threshold(uint32_t layer, float mass) const;
  Status closed_form(const FitOptions& o, uint32_t layer, LowRankPredictor& out) const;
  // x [width], codes [neurons] of a sampled token; false: this input was not kept.
  bool read_sample(const Samples& from, uint32_t i, uint32_t layer, PredictorSource source, float* x, uint8_t* codes) const;
  FineTuner start_tuner(const LowRankPredictor& from, uint32_t layer, const FitOptions& o) const;
  void tune(uint32_t layer, uint64_t steps, const std::function<float()>& along, const std::atomic<bool>& cancel);
  double held_out_loss(uint32_t layer);
  // Scores and masses of the held-out tokens; empty scores: the input was not kept.
  void held_out_scores(uint32_t layer, const LowRankPredictor& p, uint8_t active_from, std::vector<float>& scores, std::vector<float>& mass) const;
};

// First magnitude code of what exceeds a gate threshold.
uint8_t code_above(float threshold);

}  // namespace hunch
