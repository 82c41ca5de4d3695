"""The networks: stacked hourglass, V-Net, U-Net, point classifiers, the two reconstruction networks and their files.

Import the module that is needed (`SSRKDCore.networks.xray_network`, `SSRKDCore.networks.model_folder`, ...): this
package itself imports nothing, so that looking at it costs no torch.
"""
