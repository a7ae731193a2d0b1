"""Networks as users write them: one of layers joined, one with a `call` of its own."""

import keras

from anyvox_keras.networks import ViT


def conv(filters, name, strides=1):
    return keras.layers.Conv3D(
        filters, 3, strides, "same", "channels_last", activation="relu", name=name
    )


def up(size=2):
    return keras.layers.UpSampling3D(size, data_format="channels_last")


def plain_unet():
    """What a user writes in a minute; its coarse grid has a voxel for two."""
    x = keras.Input((None, None, None, 1))
    fine = conv(4, "fine")(x)
    inner = up()(conv(8, "coarse", strides=2)(fine))
    out = conv(6, "out")(keras.layers.Concatenate()([fine, inner]))
    return keras.Model(x, out, name="plain")


def tiny_vit(**arguments):
    """A ViT of 16 voxels per axis and four features."""
    sizes = dict(side=16, channels=6, depth=1, heads=1, registers=2, width=2, output_channels=4)
    return ViT(**sizes | {"seed": 0} | arguments)


@keras.saving.register_keras_serializable("tests")
class Written(keras.Model):
    """A network whose graph Keras cannot see, one of its layers within another."""

    def __init__(self, filters=4, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.fine = conv(filters, "fine")
        self.body = keras.Sequential([conv(8, "coarse", strides=4), conv(8, "deep")], name="body")
        self.up, self.out = up(4), conv(6, "out")

    def call(self, x, training=None):
        return self.out(self.up(self.body(self.fine(x), training=training)))

    def get_config(self):
        return {"filters": self.filters, "name": self.name}
