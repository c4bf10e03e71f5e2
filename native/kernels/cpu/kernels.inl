// The kernels, once, over the 16-lane vocabulary (vf, vi, vb) that simd_<isa>.h defines.
// A stub file includes its simd header and this file inside a namespace of its own, then calls make_table().

#include "elementwise.inl"
#include "matmul.inl"
#include "attention.inl"
#include "rows.inl"

inline Kernels make_table(Isa isa) {
  Kernels k{};
  k.isa = isa;
  k.quantize = quantize;
  k.rms_norm = rms_norm;
  k.matmul[(int)TensorType::F32] = matmul<F32>;
  k.matmul[(int)TensorType::F16] = matmul<F16>;
  k.matmul[(int)TensorType::BF16] = matmul<BF16>;
  k.matmul[(int)TensorType::Q8_0] = matmul<Q8_0>;
  k.matmul[(int)TensorType::Q4_0] = matmul<Q4_0>;
  k.matmul[(int)TensorType::Q4_1] = matmul<Q4_1>;
  k.matmul[(int)TensorType::Q5_0] = matmul<Q5_0>;
  k.matmul[(int)TensorType::Q5_1] = matmul<Q5_1>;
  k.matmul[(int)TensorType::Q4_K] = matmul<Q4_K>;
  k.matmul[(int)TensorType::Q5_K] = matmul<Q5_K>;
  k.matmul[(int)TensorType::Q6_K] = matmul<Q6_K>;
  k.matmul[(int)TensorType::IQ4_NL] = matmul<IQ4_NL>;
  k.screen[1] = matmul<Screen1>;
  k.screen[2] = matmul<Screen2>;
  k.screen[4] = matmul<Q4_0>;
  k.layer_norm = layer_norm;
  k.rope[(int)RopeStyle::none] = rope_none;
  k.rope[(int)RopeStyle::interleaved] = rope_interleaved;
  k.rope[(int)RopeStyle::neox] = rope_neox;
  k.activate[(int)Activation::silu] = activate<Silu>;
  k.activate[(int)Activation::gelu] = activate<Gelu>;
  k.activate[(int)Activation::relu] = activate<Relu>;
  k.activate[(int)Activation::drelu] = activate<Relu>;
  k.add = add;
  k.gate[(int)Activation::silu] = gate<Silu>;
  k.gate[(int)Activation::gelu] = gate<Gelu>;
  k.gate[(int)Activation::relu] = gate<Relu>;
  k.gate[(int)Activation::drelu] = gate<Relu, Relu>;
  k.attend = attend;
  k.attend_fold = attend_fold;
  k.scale = scale;
  k.to_f16 = to_f16;
  k.max_of = max_of;
  k.sum_exp = sum_exp;
  k.arrange = arrange;
  k.select = select;
  k.dot_rows[(int)RowType::nibbles] = dot_rows<Nibbles>;
  k.add_rows[(int)RowType::nibbles] = add_rows<Nibbles>;
  k.dot_rows[(int)RowType::nibbles_min] = dot_rows<NibblesMin>;
  k.add_rows[(int)RowType::nibbles_min] = add_rows<NibblesMin>;
  k.dot_rows[(int)RowType::bytes] = dot_rows<Bytes>;
  k.add_rows[(int)RowType::bytes] = add_rows<Bytes>;
  k.dot_rows[(int)RowType::bytes_min] = dot_rows<BytesMin>;
  k.add_rows[(int)RowType::bytes_min] = add_rows<BytesMin>;
  k.dot_rows[(int)RowType::f16] = dot_rows<F16>;
  k.add_rows[(int)RowType::f16] = add_rows<F16>;
  k.dot_rows[(int)RowType::f32] = dot_rows<F32>;
  k.add_rows[(int)RowType::f32] = add_rows<F32>;
  k.fetch = fetch;
  k.read_all = read_all;
  return k;
}
