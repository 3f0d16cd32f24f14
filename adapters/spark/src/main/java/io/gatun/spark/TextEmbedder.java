package io.gatun.spark;

import java.io.Serializable;
import java.util.List;

/**
 * A model that embeds texts. All tasks of an executor share one: {@link #embed} is called by several threads at a time.
 */
@FunctionalInterface
public interface TextEmbedder {
    /**
     * A vector for each text, in their order.
     *
     * @param texts one or more, none of them null
     */
    float[][] embed(List<String> texts) throws Exception;

    /**
     * What an executor gets its model from: where the model lies, and how it is read. It travels to executors with
     * every task, so it holds names and numbers, not weights. Sources of one class that are equal when serialized are of
     * the same model.
     */
    @FunctionalInterface
    interface Source extends Serializable {
        /**
         * Loads the model, once for an executor, while its other tasks wait. Whatever this throws fails the task; the
         * next one calls it again. A model is kept as long as the class of its source, which is until the executor
         * ends.
         */
        TextEmbedder open() throws Exception;
    }
}
