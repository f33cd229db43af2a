// Work and place of expert products and layers, in both forms: the memory-bound one, which reads an
// expert's weights once per pass over its rows, and the compute-bound one (variant "prefill"),
// which cuts rows into tiles. docs/model/calibration.md, "Fit".
#pragma once

#include "sim/cost/kernel_form.h"

namespace moecast {

/// Tiles of the compute-bound form that rows of experts fill, the last of each expert in part, as
/// far as their sum (A), their number (D) and the fullest (m) tell. RETURNS: exact where all have
/// as many rows; else the mean over loads drawn alike, at least one each.
double TilesOfLoads(double assignments, double distinct, double max_load);

// Axes: T, A, D, P, m.
KernelPlace ExpertPlace(const KernelAxes& axes);
KernelWork GateUpWork(const KernelFeatures& f, double rows_per_pass);
KernelWork DownWork(const KernelFeatures& f, double rows_per_pass);
KernelWork ExpertsWork(const KernelFeatures& f, double rows_per_pass);  // both in one launch
KernelWork LayerWork(const KernelFeatures& f, double rows_per_pass);    // router to combine

// Axes: T, A, D, m. There are no passes.
KernelPlace TiledPlace(const KernelAxes& axes);
KernelWork TiledGateUpWork(const KernelFeatures& f, double);
KernelWork TiledDownWork(const KernelFeatures& f, double);
KernelWork TiledLayerWork(const KernelFeatures& f, double);

}  // namespace moecast
