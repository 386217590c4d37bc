// All kernels of the vision vocabulary network, for one kind of processor; see vision_vectors.inl and vision_products.inl
// for what it needs.
#include "vision_vectors.inl"

#include "vision_products.inl"

#include "vision_window.inl"

#include "vision_attention.inl"

#include "vision_network.inl"

#include "vision_scores.inl"

#include "vision_convolution.inl"
