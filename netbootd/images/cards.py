"""Which kernel modules the small initrd carries: names only, as an ordered table per purpose.

A kernel that lacks one of them (another architecture, another version, built in) is served without it, so the
tables can be broad. Names are in the kernel's normal form, with underscores.
"""

BUSES = ("virtio_pci", "virtio_mmio", "hv_vmbus")
"""What makes other devices appear; nothing depends on these by name."""

CARDS = (
    *("virtio_net", "vmxnet3", "xen_netfront", "hv_netvsc", "ena", "gve"),  # virtual machines
    *("e1000", "e1000e", "igb", "igbvf", "igc", "e100"),
    *("r8169", "r8125", "r8168", "8139cp", "8139too", "ne2k_pci", "pcnet32", "via_rhine", "via_velocity"),
    *(
        "tg3",
        "bnx2",
        "b44",
        "forcedeth",
        "sky2",
        "skge",
        "alx",
        "atl1",
        "atl1c",
        "atl1e",
        "atlantic",
        "jme",
        "sis900",
    ),
    *("3c59x", "tulip", "natsemi", "lan743x", "amd_xgbe"),
    # on-chip Ethernet of boards: Raspberry Pi 4 and 5, Parallella (Zynq), Amlogic, Rockchip, Allwinner, i.MX, TI …
    *(
        "genet",
        "bcmgenet",
        "macb",
        "xilinx_emaclite",
        "xilinx_emac",
        "dwmac_generic",
        "dwmac_meson8b",
        "dwmac_meson",
    ),
    *("dwmac_rk", "dwmac_sun8i", "dwmac_sunxi", "dwmac_starfive", "dwmac_thead", "dwmac_imx", "dwmac_intel"),
    *("dwmac_qcom_ethqos", "dwmac_socfpga", "stmmac_platform", "stmmac_pci", "sun4i_emac", "fec", "cpsw"),
    *(
        "ti_cpsw",
        "ti_cpsw_new",
        "am65_cpsw_nuss",
        "davinci_emac",
        "mvneta",
        "mvpp2",
        "mv643xx_eth",
        "mtk_eth",
    ),
    *("ravb", "sh_eth", "smsc911x", "smc91x", "dm9000", "enc28j60", "lan9118", "ave", "hns", "xgene_enet"),
    *("thunder_xcv", "nicvf", "nicpf", "fsl_dpa", "fsl_dpaa_eth", "fsl_dpaa2_eth", "fsl_enetc", "netsec"),
)

FAST_CARDS = (
    "ixgbe",
    "ixgbevf",
    "i40e",
    "iavf",
    "ice",
    "bnx2x",
    "bnxt_en",
    "be2net",
    "mlx4_en",
    "mlx5_core",
    "sfc",
    "qede",
)
"""Of 10 Gbit/s and more: as large as all the others together, and never soldered to a board without a disk slot."""

USB_HOSTS = (
    *(
        "xhci_pci",
        "xhci_pci_renesas",
        "xhci_plat_hcd",
        "ehci_pci",
        "ehci_platform",
        "ehci_orion",
        "ohci_pci",
        "ohci_platform",
    ),
    *(
        "uhci_hcd",
        "dwc2",
        "dwc3",
        "dwc3_of_simple",
        "dwc3_meson_g12a",
        "dwc_otg",
        "xhci_mtk",
        "ehci_exynos",
        "sunxi",
        "musb_hdrc",
    ),
)

USB_CARDS = (
    *(
        "smsc95xx",
        "smsc75xx",
        "lan78xx",
        "asix",
        "ax88179_178a",
        "aqc111",
        "r8152",
        "r8153_ecm",
        "cdc_ether",
        "cdc_ncm",
    ),
    *("cdc_eem", "mcs7830", "dm9601", "sr9700", "sr9800", "pegasus", "rtl8150"),
)

PHYS = (
    *(
        "realtek",
        "marvell",
        "marvell10g",
        "micrel",
        "microchip",
        "smsc",
        "broadcom",
        "bcm7xxx",
        "bcm54140",
        "at803x",
    ),
    *(
        "motorcomm",
        "meson_gxl",
        "icplus",
        "dp83822",
        "dp83848",
        "dp83867",
        "dp83tc811",
        "vitesse",
        "mscc",
        "lxt",
    ),
    *(
        "davicom",
        "national",
        "qsemi",
        "ste10Xp",
        "aquantia",
        "intel_xway",
        "rockchip",
        "ax88796b",
        "xilinx_gmii2rgmii",
    ),
    *(
        "mdio_bcm_unimac",
        "mdio_mux_meson_g12a",
        "mdio_mux_mmioreg",
        "mdio_gpio",
        "mdio_mux_gpio",
        "of_mdio",
        "fixed_phy",
    ),
)
"""PHYs and the buses that they hang on; without its own driver a PHY runs on the generic one, or not at all."""

FILE_SYSTEMS = ("nfs", "nfsv3", "nfsv4", "overlay")

OTHERS = ("af_packet",)
