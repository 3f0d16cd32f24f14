/** NVIDIA GPUs as devices of tensors, through the CUDA runtime that JavaCPP's presets bring. */
package io.gatun.cuda;
