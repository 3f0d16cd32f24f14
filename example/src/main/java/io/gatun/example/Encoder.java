package io.gatun.example;

import java.util.List;

/** A sentence-embedding model: token ids of some sentences in, one vector of unit length for each out. */
interface Encoder {
    float[][] encode(List<int[]> sentences);
}
