"""What a .blend needs to be rendered elsewhere, found without Blender, and its copy that finds it there.

The only place that imports blender_asset_tracer, whose licence is the GPL (docs/dependencies.md).
"""

from renderonline.client.blend.gathering import Gathered, gather
from renderonline.client.blend.places import OUTSIDE

__all__ = ["OUTSIDE", "Gathered", "gather"]
