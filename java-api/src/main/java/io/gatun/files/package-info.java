/**
 * Weights in files: GGUF and safetensors, read by mapping them and written as a stream.
 *
 * <p>A file is opened with an arena and mapped as a whole; its tensors are views of the mapping, found by name, and
 * nothing of their data is copied or read before it is used. All of it lives as long as the arena. While the arena is
 * open the file must not be truncated or written in place; both writers here put a finished file in the place of the old
 * one instead, which disturbs no mapping.
 *
 * <p>Whatever bytes a file has, opening it gives a file whose every tensor lies inside it, or a
 * {@link io.gatun.files.MalformedFileException} that names file, field, value and what is allowed. No memory is
 * allocated for a number that the file states before the file is known to be large enough for it.
 *
 * <p>Numbers in both formats are little-endian, as they are on all machines that Gatun runs on.
 *
 * <p>The readers are Gatun's own, as the API has no dependencies, so that engines can embed it without conflicts, and no
 * well-kept reader with these guarantees was found among Java's public packages. The header of safetensors is JSON of
 * one fixed structure (objects of strings and of arrays of whole numbers, at most three deep), for which a strict parser
 * without recursion is smaller than the checks around a general one.
 */
package io.gatun.files;
