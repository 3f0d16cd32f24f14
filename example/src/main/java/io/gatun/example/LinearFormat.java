package io.gatun.example;

import io.gatun.example.MiniLmWeights.Linear;
import io.gatun.ops.QMatmul.Activation;

/** How a model holds its linear layers. */
interface LinearFormat {
    /** A layer of these weights. */
    LinearLayer pack(Linear linear, Activation activation);
}
