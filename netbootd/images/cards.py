"""Which kernel modules the small initrd carries: names only, a table per purpose.

A kernel that lacks one of them (another architecture, another version, built in) is served without it, so the
tables can be broad where it costs little. Names are in the kernel's normal form, with underscores.
"""


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


BUSES = _names("virtio_pci virtio_mmio")
"""What makes other devices appear; nothing depends on these by name."""

# Cards that machines boot from. Those of laptops and hubs of long ago are left out, as are virtual functions
# and the clouds' cards, which have no firmware that boots over the network.
PCI_CARDS = _names("""
    virtio_net vmxnet3 e1000 e1000e igb igc e100 r8169 r8168 r8125 r8101 8139cp 8139too ne2k_pci pcnet32
    via_rhine tg3 bnx2 forcedeth sky2 skge alx atl1c atl1e atlantic jme lan743x
""")

BOARD_CARDS = _names("""
    genet bcmgenet macb xilinx_emaclite xilinx_emac dwmac_generic dwmac_meson8b dwmac_meson dwmac_rk
    dwmac_sun8i dwmac_sunxi dwmac_starfive dwmac_thead dwmac_imx dwmac_qcom_ethqos dwmac_socfpga
    stmmac_platform sun4i_emac fec ti_cpsw ti_cpsw_new am65_cpsw_nuss davinci_emac mvneta mvpp2
    mv643xx_eth mtk_eth ravb sh_eth smsc911x smc91x dm9000 enc28j60 sni_ave xgene_enet thunder_xcv nicvf
    nicpf fsl_dpaa_eth fsl_dpaa2_eth fsl_enetc netsec
""")
"""On the chip: Raspberry Pi 4 and 5, Parallella (Zynq), Amlogic, Rockchip, Allwinner, StarFive, i.MX, TI."""

FAST_CARDS = _names("ixgbe i40e ice bnx2x bnxt_en be2net mlx4_en mlx5_core")
"""Of 10 Gbit/s and more, in servers: together larger than everything else."""

NOTHING_WITHOUT_FIRMWARE = _names("bnx2 bnx2x")
"""Cards that don't come up at all without theirs; no use in carrying the driver alone."""

USB_HOSTS = _names("""
    xhci_pci xhci_pci_renesas xhci_plat_hcd ehci_pci ehci_platform ehci_orion dwc2 dwc3 dwc3_of_simple
    dwc3_meson_g12a dwc_otg xhci_mtk ehci_exynos sunxi musb_hdrc
""")

USB_CARDS = _names("""
    smsc95xx smsc75xx lan78xx asix ax88179_178a aqc111 r8152 r8153_ecm cdc_ether cdc_ncm cdc_eem mcs7830
    dm9601 sr9700 sr9800
""")

PHYS = _names("""
    realtek marvell marvell10g micrel microchip smsc broadcom bcm7xxx bcm54140 at803x qca83xx motorcomm
    meson_gxl icplus dp83822 dp83848 dp83867 dp83tc811 vitesse lxt davicom national intel_xway rockchip
    ax88796b aquantia xilinx_gmii2rgmii mdio_bcm_unimac mdio_mux_meson_g12a mdio_mux_mmioreg mdio_gpio
    mdio_mux_gpio of_mdio fixed_phy
""")
"""PHYs and the buses they hang on. Without its own driver a PHY runs on the generic one, or not at all."""

SUPPORT_DIRECTORIES = tuple(
    f"kernel/drivers/{name}/"
    for name in _names(
        "clk reset regulator pinctrl gpio mfd phy soc bus pmdomain power/reset i2c/busses pci/controller"
    )
)
"""Of boards: a card on the chip doesn't come up before its clock, its PHY's regulator and their bus do."""

FILE_SYSTEMS = _names("nfs nfsv3 nfsv4 overlay squashfs loop")

OTHERS = _names("af_packet")
