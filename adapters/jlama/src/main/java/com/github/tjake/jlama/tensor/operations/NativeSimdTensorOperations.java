package com.github.tjake.jlama.tensor.operations;

import io.gatun.jlama.GatunTensorOperations;

/** The class that Jlama looks for by this name: with this artifact in the place of jlama-native it finds Gatun. */
public final class NativeSimdTensorOperations extends GatunTensorOperations {}
